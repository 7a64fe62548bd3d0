"""Architectures with random weights, in the place of models."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

import rtsep
from rtsep import models, untrained
from rtsep.checkpoints import read_spec
from rtsep.engines import available
from rtsep.errors import Failure, WrongCall

SMALL = {"filters": 24, "kernel": 128, "bottleneck": 12, "hidden": 16, "blocks": 2, "repeats": 1}


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A cache of its own, and an architecture whose configurations are small."""
    monkeypatch.setenv("RTSEP_CACHE_DIR", str(tmp_path))
    configurations = {"first": SMALL, "second": SMALL | {"rate": 8000}}
    monkeypatch.setattr("rtsep.models.convtasnet.ConvTasNet.configurations", configurations)
    return tmp_path


def test_is_made_once_and_always_the_same(small) -> None:
    heard, before = [], torch.random.get_rng_state()
    path = untrained.checkpoint("convtasnet", progress=heard.append)
    assert heard == ["drawing random weights for convtasnet"]
    assert untrained.checkpoint("convtasnet", progress=heard.append) == path and len(heard) == 1
    assert torch.equal(torch.random.get_rng_state(), before)
    spec = read_spec(path)
    assert spec.name == "convtasnet first (random weights)" and spec.card["weights"] == "random"
    path.unlink()
    torch.rand(5)
    assert read_spec(untrained.checkpoint("convtasnet")).digest == spec.digest


def test_configurations_have_their_own(small) -> None:
    first, second = (untrained.checkpoint("convtasnet", config) for config in (None, "second"))
    assert first != second and first.is_file()
    assert (read_spec(first).rate, read_spec(second).rate) == (16000, 8000)
    assert rtsep.load(second).rate == 8000


def test_what_is_outdated_goes(small) -> None:
    outdated = small / "untrained" / "convtasnet.default.0123456789abcdef.safetensors"
    outdated.parent.mkdir()
    outdated.write_text("")
    path = untrained.checkpoint("convtasnet")
    assert [file.name for file in outdated.parent.iterdir()] == [path.name]


def test_choices() -> None:
    assert untrained.choose("mine", None, None) == "mine"
    assert untrained.choose(None, None, None, default="convtasnet") == "convtasnet"
    for names, said in [
        ((None, None, None), "no model named"),
        ((None, None, "paper"), "it goes with --arch"),
        (("mine", None, "paper"), "it goes with --arch"),
        (("mine", "convtasnet", None), "either a model or an architecture"),
        ((None, "transformer", None), "no architecture 'transformer'; there is convtasnet"),
        ((None, "convtasnet", "huge"), "no configuration 'huge'; there is low-latency"),
    ]:
        with pytest.raises(WrongCall, match=said):
            untrained.choose(*names)


def test_where_nothing_can_be_written(small) -> None:
    (small / "untrained").write_text("")
    with pytest.raises(Failure, match="can't make the folder"):
        untrained.checkpoint("convtasnet")


def test_once_there_it_needs_no_torch() -> None:
    path = untrained.checkpoint("convtasnet")
    code = (
        "import sys; sys.modules['torch'] = None; from rtsep import untrained; "
        "print(untrained.choose(None, 'convtasnet', None))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == str(path), done.stderr


def run(arch: str, engine: str, seconds: float) -> dict:
    command = [sys.executable, "-m", "rtsep", "run", "--arch", arch, "--input", "demo", "--json"]
    command += ["--engine", engine, "--duration", str(seconds), "--clock", "free"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_runs_live() -> None:
    summary = run("convtasnet", "eager", 0.5)
    assert summary["untrained"] is True and "random weights" in summary["model"]
    assert summary["misses"]["total"] == summary["resets"] == 0


@pytest.mark.long
@pytest.mark.parametrize("engine", [name for name, missing in available().items() if not missing])
@pytest.mark.parametrize("arch", models.architectures())
def test_every_architecture_runs_live(arch: str, engine: str) -> None:
    summary = run(arch, engine, 2)
    assert summary["misses"]["total"] == summary["resets"] == 0
