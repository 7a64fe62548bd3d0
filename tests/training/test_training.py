"""Training: resumed is the same as never stopped; the command, from a data folder to a model."""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import rtsep
from rtsep import engines
from rtsep.errors import Failure, WrongCall
from rtsep.training import recipe as recipes
from rtsep.training.loop import CONSTANT, STATE, Options, improvements
from rtsep.training.run import run


def go(recipe_file, data, work, resume=False, init=None, **options):
    work.mkdir(exist_ok=True)
    settings = Options(work, workers=0, compiled=False, log_steps=2, **options)
    plan = recipes.read(recipe_file)
    out = work / "tiny.safetensors"
    return run(plan, data, out, settings, resume=resume, init=init, say=lambda line: None)


def weights(state):
    return torch.cat([p.detach().flatten() for p in state.model.parameters()])


def test_resumed_equals_uninterrupted(recipe_file, data, tmp_path):
    whole = go(recipe_file, data, tmp_path / "whole")
    go(recipe_file, data, tmp_path / "parts", stop_after=2)
    go(recipe_file, data, tmp_path / "parts", resume=True, stop_after=3)
    parts = go(recipe_file, data, tmp_path / "parts", resume=True)
    assert whole.step == parts.step == 6
    torch.testing.assert_close(weights(whole), weights(parts), rtol=0, atol=0)
    for a, b in zip(whole.average.parameters(), parts.average.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    # The log goes on as well.
    logs = [(tmp_path / name / "log.csv").read_text().splitlines() for name in ("whole", "parts")]
    assert [line.split(",")[0] for line in logs[0]] == ["step", "2", "4", "6"]
    assert logs[0][0] == logs[1][0]


def test_it_learns_and_keeps_the_average(recipe_file, data, tmp_path):
    state = go(recipe_file, data, tmp_path)
    kept = rtsep.load(tmp_path / "tiny.safetensors")
    assert kept.spec.card["trained"]["steps"] == 6
    for a, b in zip(kept.parameters(), state.average.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert (tmp_path / CONSTANT).exists()  # from before the learning rate fell


def test_another_start(recipe_file, data, tmp_path):
    first = go(recipe_file, data, tmp_path / "a", stop_after=1)
    rtsep.checkpoints.save(first.model, tmp_path / "first.safetensors")
    second = go(recipe_file, data, tmp_path / "b", init=tmp_path / "first.safetensors",
                stop_after=0)  # fmt: skip
    torch.testing.assert_close(weights(second), weights(first), rtol=0, atol=0)


def test_the_card_counts_what_the_first_weights_were_trained_for(recipe_file, data, tmp_path):
    go(recipe_file, data, tmp_path / "a")
    first = rtsep.load(tmp_path / "a" / "tiny.safetensors")
    first.spec.card["trained"]["history"] = "; three of them by hand"
    rtsep.checkpoints.save(first, tmp_path / "first.safetensors", card=first.spec.card)
    go(recipe_file, data, tmp_path / "b", init=tmp_path / "first.safetensors", stop_after=2)
    go(recipe_file, data, tmp_path / "b", resume=True)
    trained = rtsep.load(tmp_path / "b" / "tiny.safetensors").spec.card["trained"]
    assert trained["steps"] == 12 and trained["history"] == "; three of them by hand"


def test_what_can_not_be_resumed_is_said(recipe_file, data, tmp_path):
    with pytest.raises(Failure, match="nothing to resume"):
        go(recipe_file, data, tmp_path, resume=True)
    go(recipe_file, data, tmp_path, stop_after=1)
    other = tmp_path / "other.toml"
    other.write_text(recipe_file.read_text().replace("filters = 16", "filters = 18"))
    with pytest.raises(Failure, match="another model"):
        go(other, data, tmp_path, resume=True)
    (tmp_path / STATE).write_bytes(b"nonsense")
    with pytest.raises(Failure, match="can't read"):
        go(recipe_file, data, tmp_path, resume=True)
    stereo = tmp_path / "stereo.toml"
    stereo.write_text(recipe_file.read_text().replace("filters = 16", "channels = 2"))
    with pytest.raises(WrongCall, match="mono at 16000 Hz"):
        go(stereo, data, tmp_path)


def test_scores_are_improvements():
    class Half(torch.nn.Module):
        """Gives half of the mixture: nothing is gained or lost."""

        def __init__(self):
            super().__init__()
            self.gain = torch.nn.Parameter(torch.tensor(0.5))

        def forward(self, x):
            return torch.stack([self.gain * x, (1 - self.gain) * x], 2)

    stems = np.random.default_rng(0).standard_normal((3, 2, 1000)).astype(np.float32)
    assert improvements(Half(), stems, batch=2) == pytest.approx([0, 0, 0], abs=1e-3)


def command(recipe_file, data, work, *more):
    line = [sys.executable, "-m", "rtsep", "train", str(recipe_file), "--data", str(data)]
    line += ["--work", str(work), "--no-compile", "--threads", "1", *more]
    pipe = subprocess.PIPE
    return subprocess.Popen(line, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def test_the_command_stops_when_told_and_goes_on(recipe_file, data, tmp_path):
    long = tmp_path / "long.toml"
    long.write_text(recipe_file.read_text().replace("steps = 6", "steps = 1000000"))
    work = tmp_path / "work"
    running = command(long, data, work)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and running.poll() is None:
        if (work / "log.csv").exists() and len((work / "log.csv").read_text().splitlines()) > 1:
            break
        time.sleep(0.1)
    # As a terminal and a service manager do it: the process that makes mixtures is told too.
    os.killpg(running.pid, signal.SIGTERM)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "interrupted at step" in out and "Traceback" not in err
    done = command(long, data, work, "--resume", "--minutes", "0.01", "--decay-now")
    out, err = done.communicate(timeout=120)
    assert done.returncode == 0, err
    assert "resumed at step" in out
    assert rtsep.load(work / "tiny.safetensors").stems == ("voice", "background")


def test_the_gpu_script_tries_itself_on_the_cpu(recipe_file, data, tmp_path):
    script = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
    listed = runpy.run_path(str(script))["ENGINES"]
    assert {*listed["cuda"], *listed["cpu"]} <= set(engines.available())
    options = ["--recipe", str(recipe_file), "--data", str(data), "--work", str(tmp_path / "w")]
    options += ["--out", str(tmp_path / "gpu.json"), "--dry-run"]
    probe = (
        "import runpy, sys; sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "assert 'sounddevice' not in sys.modules, 'an audio device library'\n"
    )
    line = [sys.executable, "-c", probe, str(script), *options]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "gpu.json").read_text())
    assert report["training"]["steps"] == 2
    assert {row["form"] for row in report["results"]} == {"eager", "eager float32"}
    assert [row["ratio_db"] > 100 for row in report["agreement"]] == [True]
    assert [row["batch"] for row in report["streams"]] == [1]
    assert all(row["step_ms"]["p50"] > 0 for row in report["results"])
    done = subprocess.run([*line, "--resume"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "gpu.json").read_text())["training"]["steps"] == 4
