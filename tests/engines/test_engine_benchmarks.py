"""The scripts that measure engines, and the tables that are made of what they write."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from engine_models import make

import rtsep.checkpoints
from rtsep.errors import Failure

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    rtsep.checkpoints.save(make(blocks=1, repeats=1), path)
    return path


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    # Names that scripts have in common with packages must not stay.
    before = set(sys.modules)
    yield
    for name in {"engine_tables", "cells", "floors", "peers", "parts"} - before:
        sys.modules.pop(name, None)


def script(name: str, *arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, str(BENCHMARKS / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


def test_floors():
    found = json.loads(script("floors.py", "--json").stdout)
    assert set(found["bandwidth"]) == {*found["sizes"], "memory"}
    assert all(speed > 0 for speed in (*found["bandwidth"].values(), *found["peak"].values()))
    assert set(found["peak"]) == {"float32", "bfloat16", "int8"}


def test_the_floor_of_a_step(scripts):
    from floors import Floors

    floors = Floors(
        sizes={"1": 1000, "2": 10_000},
        bandwidth={"1": 1e6, "2": 1e5, "memory": 1e4},
        peak={"float32": 1e6, "bfloat16": 2e6, "int8": 4e6},
    )
    assert floors.level(1000) == "1" and floors.level(1001) == "2"
    assert floors.step(20_000, 0) == 2  # from memory
    assert floors.step(20_000, 0, "bfloat16") == pytest.approx(0.1)  # fits the second cache
    assert floors.step(400, 5e6) == 5 and floors.step(400, 5e6, "int8") == 1.25


def test_engines_and_going_on(tiny, tmp_path):
    out = tmp_path / "engines.json"
    arguments = ["--models", tiny, "--engines", "native", "--ms", 8, "--seconds", 0.3, "--out", out]
    script("engines.py", *arguments, "--precisions", "float32")
    before = json.loads(out.read_text())
    (row,) = before["results"]
    assert (row["engine"], row["precision"], row["chunk"]) == ("native", "float32", 128)
    assert row["floor_ms"] > 0 and row["paced_floors"] > 0 and row["ratio_db"] > 90
    assert row["warm_ms"]["p50"] > 0 and row["stalls_ms"]["p50"] > 0
    script("engines.py", *arguments, "--precisions", "float32", "int8", "--resume")
    after = json.loads(out.read_text())
    assert after["results"][0] == row and after["results"][1]["precision"] == "int8"


def test_streams(tiny, tmp_path):
    out = tmp_path / "streams.json"
    arguments = ["--models", tiny, "--engines", "native", "--precisions", "float32", "--most", 2]
    script("streams.py", *arguments, "--seconds", 0.05, "--out", out)
    (row,) = json.loads(out.read_text())["results"]
    assert row["batches"][0]["batch"] == 1 and row["batches"][0]["per_stream_ms"] > 0
    assert row["streams"] in (0, 1, 2)


def test_gaps(tmp_path):
    out = tmp_path / "gaps.json"
    script("gaps.py", "--models", "convtasnet", "--seconds", 0.1, "--out", out)
    rows = json.loads(out.read_text())["results"]
    assert [row["precision"] for row in rows] == ["float32", "int8"]
    for row in rows:
        assert (row["chunk"], row["chunk_ms"]) == (64, 4) and row["floor_ms"] > 0
        assert all(row["step_ms"][name]["p50"] > 0 for name in ("warm", "cold", "awake", "paced"))


def test_ten_seconds_of_a_long_run(tiny, tmp_path):
    """Every late step is counted, with its cause; how many there are is the machine's affair."""
    out = tmp_path / "soak.json"
    script("soak.py", "--minutes", 1 / 6, "--model", tiny, "--out", out)
    (row,) = json.loads(out.read_text())["results"]
    # All of the sound is heard: it goes on until what comes in last has come out.
    assert row["seconds"] == pytest.approx(10 + row["latency"]["internal"] / row["rate"], abs=0.01)
    assert row["engine_reason"] == "the default"
    assert row["misses"]["total"] == sum(row["misses"]["causes"].values())
    assert row["step_ms"]["max"] >= row["step_ms"]["p50"] > 0


def test_forms_step_when_told_to(tiny, scripts):
    from peers import Form

    with pytest.raises(Failure, match="scripts/peers installs it"):
        Form("/nowhere/python", ["asteroid"])
    with pytest.raises(Failure, match="nonesuch"):
        Form(sys.executable, ["ours", "nonesuch", "native", "float32", "128"])
    with Form(sys.executable, ["ours", str(tiny), "native", "float32", "128"]) as form:
        assert (form.chunk, form.rate) == (128, 16000)
        assert len(form.step(3)) == 3 and min(form.step(2)) > 0


def test_tables(tmp_path, scripts):
    import engine_tables

    step = {"p50": 0.4, "p99": 0.5, "p999": 0.7, "max": 2.0}
    case = dict(step_ms=step, warm_ms=step, stalls_ms={"p50": 0.4, "p999": 0.5}, floor_ms=0.2)
    case |= dict(paced_floors=2.0, warm_floors=2.0, rtf=0.05, ratio_db=60.0, rate=16000, round=0)
    rows = [
        case | dict(name="convtasnet/published-16k", engine=engine, precision="float32", chunk=128)
        for engine in ("native", "onnxruntime")
    ]
    rows[1] = rows[1] | {"step_ms": step | {"p50": 1.2}}
    rows.append(rows[0] | {"round": 1, "step_ms": step | {"p50": 0.9}})
    forms = [
        {"form": "conventional", "warm_ms": step, "paced_ms": step},
        *(
            {"form": f"native {kind}", "warm_ms": step, "paced_ms": step}
            | {"warm_times_faster": 20.0, "paced_times_faster": 9.0}
            for kind in ("float32", "bfloat16", "int8")
        ),
    ]
    report = {
        "machine": {"processor": "this", "cores": 2, "core": "mine"},
        "versions": {"torch": "2", "onnxruntime": "1"},
    }
    batch = {"batch": 30, "chunk_ms": 4.0, "per_stream_ms": 0.1, "step_ms": step}
    held = dict(name="convtasnet", engine="native", precision="int8", streams=30, batches=[batch])
    written = {
        "engines": rows,
        "peers": [{"name": "convtasnet", "chunk": 128, "against": "conventional", "forms": forms}],
        "streams": [held],
    }
    other = report | {"machine": report["machine"] | {"core": "theirs"}}
    slower = [row | {"step_ms": step | {"p50": 1.0}} for row in rows[:1]] + rows[1:2]
    (tmp_path / "elsewhere").mkdir()
    for name, results in written.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(report | {"results": results}))
        if name == "engines":
            results = slower
        path = tmp_path / "elsewhere" / f"{name}.json"
        path.write_text(json.dumps(other | {"results": results}))
    table = engine_tables.engines(tmp_path)
    assert "| `native` float32 | 60 | 0.40 (0.50), 2.0× |" in table
    assert table.index("`onnxruntime`") < table.index("`native`")
    assert "| rtsep native int8 | 0.40 | **9.0×** | 0.40 | **20.0×** |" in engine_tables.peers(
        tmp_path
    )
    assert "| 30 | 0.100 |" in engine_tables.streams(tmp_path)
    aims = engine_tables.targets(tmp_path)
    assert aims.startswith("| aim | wanted | mine | theirs |")
    assert "against the conventional form, warm | 15× | **20.0×** | **20.0×** |" in aims
    assert "reduced precision | 30× | 20.0× | 20.0× |" in aims
    assert "against the best library | 2× | **3.0×** | 1.2× |" in aims
    assert "own stalls taken out | ≤ 2 | **1.5** | **0.6** |" in aims
    assert "streams on one core | 24 | **30** | **30** |" in aims
