"""The command line's frame: help without torch, one-line errors, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def rtsep(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "rtsep", *arguments], capture_output=True, text=True
    )


def test_help_loads_nothing_heavy():
    code = (
        "import sys, runpy\n"
        "sys.argv = ['rtsep', '--help']\n"
        "try: runpy.run_module('rtsep', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numba', 'numpy', 'onnxruntime', 'sounddevice', 'soundfile'}\n"
        "print('loaded:', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Separates sound live" in done.stdout, done.stderr
    assert "loaded: []" in done.stdout


def test_import_rtsep_loads_no_library():
    code = "import rtsep, sys; print({'torch', 'numpy', 'onnxruntime'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_version():
    done = rtsep("--version")
    assert done.returncode == 0 and done.stdout.startswith("rtsep 0.")


def test_models_as_json():
    done = rtsep("models", "--json")
    assert done.returncode == 0, done.stderr
    (model,) = [m for m in json.loads(done.stdout)["models"] if m["name"] == "convtasnet"]
    assert model["stems"] == ["voice", "background"]
    assert (model["primary"], model["remainder"]) == ("voice", "background")
    assert model["rate"] == 16000 and model["latency"] <= 128
    assert model["parameters"] <= 2_000_000


def test_models_as_a_table():
    done = rtsep("models")
    assert done.returncode == 0 and "voice*" in done.stdout and "background+" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["run", "--no-such-option"],
        ["run", "--model", "no-such-model"],
        ["run", "--engine", "no-such-engine"],
        ["run", "--chunk", "7"],
        ["run", "--gain", "no-such-stem=3dB"],
        ["run", "--solo", "no-such-stem"],
        ["run", "--clock", "wrong"],
        ["run", "--block", "many"],
        ["separate"],
        ["verify", "no-such-model"],
        ["verify"],
        ["verify", "--arch", "no-such-architecture"],
        ["verify", "--arch", "convtasnet", "--config", "no-such-configuration"],
        ["run", "--model", "convtasnet", "--arch", "convtasnet"],
        ["run", "--config", "paper"],
        ["bench", "--model", "no-such-model"],
        ["eval", "--model", "no-such-model", "--set", "/"],
        ["train", "no-such-recipe", "--data", "/"],
        ["mix", "no-such-recipe", "--data", "/", "--out", "/tmp/never"],
        ["import", "/no/such/file", "--format", "none-such", "--out", "/tmp/never.safetensors"],
    ],
    ids=" ".join,
)
def test_a_wrong_call_is_one_line_and_code_2(arguments):
    done = rtsep(*arguments)
    # The first one of all compiles what every run needs, and says so.
    lines = [line for line in done.stderr.strip().splitlines() if not line.endswith(", once")]
    assert done.returncode == 2, done.stderr
    assert lines and lines[-1].startswith("rtsep: ") and "Traceback" not in done.stderr
    assert len(lines) == 1, done.stderr
