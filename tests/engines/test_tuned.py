"""What was tuned is used, and only for what it was tuned for."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from engine_models import make

import rtsep.checkpoints
from rtsep import engines, tuning
from rtsep.engines import accuracy, cache, tuned
from rtsep.errors import Failure, WrongCall
from rtsep.live.latency import default_queue


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("RTSEP_CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "tiny.safetensors"
    rtsep.checkpoints.save(make(blocks=1, repeats=1), path)
    return path


def record(engine="onnxruntime", chunk=128, **change) -> tuned.Record:
    versions = tuned.versions(engine) if engine in engines.available() else {"rtsep": "0"}
    choice = tuned.Choice(engine, "float32", chunk, 120.0, 0.2, versions, queue_ms=2.5)
    choice = replace(choice, **change)
    return tuned.Record("tiny", cache.processor(), "2026-01-02", choice.chunk, (choice,))


def test_auto_uses_what_was_tuned(path):
    tuned.write(engines.spec_of(path).digest, record())
    said: list[str] = []
    spec = engines.build(path, progress=said.append).spec
    assert (spec.engine, spec.chunk, spec.queue_ms) == ("onnxruntime", 128, 2.5)
    assert spec.reason == "tuned on this machine"
    # What is asked for comes first: another chunk, another precision, an engine by name.
    assert engines.build(path, chunk=64).spec.reason == "the default"
    spec = engines.build(path, precision="bfloat16").spec
    assert (spec.engine, spec.chunk, spec.queue_ms) == ("native", 64, None)
    assert engines.build(path, "native").spec.reason == "asked for"
    assert not any("ignored" in text for text in said)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (dict(processor="an older one"), "the processor"),
        (dict(versions={"rtsep": "0.0.1"}), "rtsep (0.0.1"),
        (dict(engine="gone", versions={"rtsep": "0"}), "engine gone"),
    ],
)
def test_what_changed_since_is_ignored_and_said_in_one_line(path, change, named):
    written = record(**{k: v for k, v in change.items() if k != "processor"})
    written = replace(written, **{k: v for k, v in change.items() if k == "processor"})
    tuned.write(engines.spec_of(path).digest, written)
    said: list[str] = []
    spec = engines.build(path, progress=said.append).spec
    assert (spec.engine, spec.reason, spec.chunk) == ("native", "the default", 64)
    (line,) = [text for text in said if "ignored" in text]
    assert named in line and "rtsep tune" in line and "\n" not in line


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"choices": [{}]}', "{"])
def test_a_damaged_record_is_none(path, content):
    digest = engines.spec_of(path).digest
    tuned.write(digest, record()).write_text(content)
    assert tuned.find(digest, None) == (None, None)


def test_a_tuned_engine_that_fails_is_replaced_and_named(path, monkeypatch):
    tuned.write(engines.spec_of(path).digest, record())
    from rtsep.engines import onnxruntime

    def fails(*arguments):
        raise Failure("engine onnxruntime: out of order")

    monkeypatch.setattr(onnxruntime, "build", fails)
    spec = engines.build(path).spec
    assert spec.engine == "native" and "out of order" in spec.reason
    assert spec.queue_ms is None


def test_a_tuned_queue_is_the_default():
    assert default_queue(48000, 64, 64, 192) == 320
    assert default_queue(48000, 64, 64, 192, 2.5) == 128
    assert default_queue(48000, 64, 256, 192, 2.5) == 256


def test_tune_measures_and_keeps_the_fastest(path):
    found = tuning.tune(path, names=["native", "eager"], chunks=[64, 128], seconds=0.2, live=False)
    tried = {(t.engine, t.precision, t.chunk) for t in found.trials}
    kinds = [("eager", "float32"), *(("native", kind) for kind in engines.precisions("native"))]
    assert tried == {(name, kind, chunk) for name, kind in kinds for chunk in (64, 128)}
    assert [choice.chunk for choice in found.record.choices] == [64, 128]
    exact = [t for t in found.trials if t.precision == "float32"]
    assert all(t.ratio_db > 90 and t.step_ms["p50"] > 0 for t in exact)
    spec = engines.build(path).spec
    chosen = found.record.choices[0]
    assert (spec.engine, spec.precision, spec.chunk) == (chosen.engine, chosen.precision, 64)
    assert spec.reason == "tuned on this machine"


def test_tune_refuses_what_is_too_far_from_the_reference(path):
    with pytest.raises(Failure, match="less than 500"):
        tuning.tune(
            path,
            names=["native"],
            precisions=["bfloat16"],
            chunks=[64],
            seconds=0.1,
            least_db=500,
            live=False,
        )
    assert engines.build(path).spec.reason == "the default"
    with pytest.raises(WrongCall, match="auto|native"):
        tuning.tune(path, names=["quantum"], seconds=0.1)


def test_the_command_and_the_run_after_it(path):
    command = [sys.executable, "-m", "rtsep"]
    done = subprocess.run(
        [*command, "tune", str(path), "--engine", "native", "--precision", "float32"]
        + ["--chunk", "128", "--seconds", "0.3", "--json"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    (choice,) = said["chosen"]["choices"]
    assert (choice["engine"], choice["chunk"]) == ("native", 128)
    assert said["runs"] and all(run["chunk"] == 128 for run in said["runs"])
    clean = [run["queue_ms"] for run in said["runs"] if not run["misses"]]
    assert choice["queue_ms"] == (clean[0] if clean else None)
    done = subprocess.run(
        [*command, "run", "--model", str(path), "--input", "demo", "--clock", "free"]
        + ["--duration", "0.2"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    heading = done.stdout.splitlines()[0]
    assert "on native in float32 (tuned on this machine), chunks of 128" in heading


def test_differences():
    x = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    assert accuracy.difference(x, x).ratio == np.inf
    found = accuracy.difference(x, x * np.float32(1.01))
    assert found.ratio == pytest.approx(40, abs=0.01) and found.error == pytest.approx(0.01, 1e-3)
    assert accuracy.difference(x, x * np.nan).ratio == -np.inf
    assert accuracy.difference(x * 0, x).ratio == -np.inf
    assert accuracy.difference(x * 0, x * 0).ratio == np.inf
