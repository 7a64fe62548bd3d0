"""The measuring code, and the scripts whose results the README shows."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
from engine_models import make

import rtsep.checkpoints
from rtsep import benchmark
from rtsep.errors import WrongCall

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    rtsep.checkpoints.save(make(blocks=1, repeats=1), path)
    return path


def test_pace_waits_and_counts_what_is_late():
    calls = []

    def step():
        calls.append(time.perf_counter())
        if len(calls) == 3:
            time.sleep(0.2)
        return time.perf_counter() - calls[-1]

    times, late = benchmark.pace(step, 0.04, 12)
    assert len(times) == len(calls) == 12
    # The third took five intervals: it was late, and so were those that had to wait for it.
    assert 2 <= late < 12
    assert calls[-1] - calls[0] > 0.2
    assert times[2] > 0.19 and np.median(times) < 0.01


def test_loop_counts_what_takes_longer_than_an_interval():
    times, late = benchmark.loop(iter([0, 0.5, 0, 0]).__next__, 0.04, 4)
    assert late == 1 and times.argmax() == 1


class Engine:
    """Its mixture, doubled, in two hundredths of a second; it raises at its 5th step."""

    spec = types.SimpleNamespace(mixture_shape=(1, 1, 4), stems_shape=(1, 1, 1, 4))
    heard: list[float] = []

    def process(self, mixture, stems, active=None):
        self.heard.append(float(mixture[0, 0, 0]))
        if len(self.heard) == 5:
            raise ValueError("five")
        time.sleep(0.02)


def test_steps_go_through_the_sound_and_are_timed_one_by_one():
    step = benchmark.stepping(Engine(), np.arange(12, dtype=np.float32).reshape(3, 1, 1, 4))
    assert all(0.02 <= step() < 5 for _ in range(4))
    with pytest.raises(ValueError, match="five"):
        step()
    assert Engine.heard == [0, 4, 8, 0, 4]


def test_percentiles_are_in_milliseconds():
    found = benchmark.percentiles(np.arange(1, 1002) / 1000)
    assert found["p50"] == pytest.approx(501)
    assert found["p99"] == pytest.approx(991)
    assert found["p999"] == pytest.approx(1000)
    assert found["max"] == pytest.approx(1001)


def test_bench_prints_the_json_that_is_promised(checkpoint):
    command = [sys.executable, "-m", "rtsep", "bench", "--model", str(checkpoint)]
    command += ["--engine", "onnxruntime", "--engine", "eager", "--chunk", "128"]
    command += ["--seconds", "0.5", "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {"machine", "versions", "results"} <= set(report)
    assert [row["engine"] for row in report["results"]] == ["onnxruntime", "eager"]
    for row in report["results"]:
        assert (row["model"], row["precision"], row["chunk"]) == ("tiny", "float32", 128)
        assert row["paced"] is True and row["steps"] == round(0.5 * 16000 / 128)
        step = row["step_ms"]
        assert 0 < step["p50"] <= step["p99"] <= step["p999"] <= step["max"]
        assert row["rtf"] > 0 and row["load_s"] > 0 and 0 <= row["misses"] <= row["steps"]
        assert row["memory_mb"] is None or 20 < row["memory_mb"] < 2000
    light, heavy = report["results"]
    assert light["memory_mb"] is None or light["memory_mb"] < heavy["memory_mb"]


def test_bench_refuses_in_one_line(checkpoint):
    for wrong, said in [
        (["--engine", "quantum"], "quantum"),
        (["--chunk", "100"], "64, 128, 192"),
        (["--seconds", "0"], "more than 0"),
        (["--precision", "int3"], "float32"),
    ]:
        command = [sys.executable, "-m", "rtsep", "bench", "--model", str(checkpoint), *wrong]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 2
        assert said in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr


def test_measure_refuses_an_unknown_model():
    with pytest.raises(WrongCall, match="nonesuch"):
        benchmark.measure("nonesuch")


def test_streaming_benchmark_and_its_table(tmp_path):
    out = tmp_path / "streaming.json"
    command = [sys.executable, "benchmarks/streaming.py", "--seconds", "10", "--chunks", "8"]
    subprocess.run([*command, "--out", str(out)], cwd=ROOT, check=True, capture_output=True)
    report = json.loads(out.read_text())
    forms = {"conventional", "eager", "native", "onnxruntime"}
    assert {(row["form"], row["paced"]) for row in report["results"]} == {
        (form, paced) for form in forms for paced in (True, False)
    }
    assert set(report["agreement"]) == forms - {"conventional"}
    assert all(error < 1e-5 for error in report["agreement"].values())

    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- table:streaming -->\n<!-- end -->\nafter\n")
    tables = [sys.executable, "benchmarks/tables.py", "--results", str(tmp_path), str(readme)]
    assert subprocess.run([*tables, "--check"], cwd=ROOT, capture_output=True).returncode == 1
    subprocess.run(tables, cwd=ROOT, check=True)
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("<!-- end -->\nafter\n")
    assert text.count("|\n") == 6 and "8 ms chunks" in text
    subprocess.run([*tables, "--check"], cwd=ROOT, check=True)


def test_table_of_architectures(monkeypatch):
    """From the command's JSON, whatever it lists."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    tables = runpy.run_path(str(ROOT / "benchmarks" / "tables.py"))
    row = dict(architecture="unet", configuration="published", rate=8192, channels=2, hop=49152)
    row |= dict(hop_ms=6000.0, latency=256, latency_ms=31.25, parameters=9_824_118)
    row |= dict(macs=97_539_456, weight_bytes=47_713_512, state_bytes=517_120)
    rows = [row, dict(architecture="unet", configuration="other", missing="pip install more")]
    listed = json.dumps({"architectures": rows})
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: types.SimpleNamespace(stdout=listed))
    lines = tables["TABLES"]["architectures"]().splitlines()
    assert lines[2] == (
        "| `unet` | `published` | 8.192 kHz, stereo | 9.82 M | 49152 (6000 ms) | 256 (31.2 ms) "
        "| 0.10 | 47.7 MB | 517 kB |"
    )
    assert lines[3].startswith("|  | `other` | ? |")
