"""`rtsep verify`: finds what is right right, and what is wrong wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import typer

from rtsep import create
from rtsep.checkpoints import save
from rtsep.cli.verify import command
from rtsep.errors import Failure
from rtsep.models.convtasnet import ConvTasNet
from rtsep.naive import twin
from rtsep.verification import BOUNDS, Check, Verdict, verify

SMALL = {"filters": 8, "kernel": 16, "bottleneck": 4, "hidden": 6, "skip": 4, "repeats": 1}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """One that every engine can build fast."""
    path = tmp_path_factory.mktemp("verify") / "small.safetensors"
    torch.manual_seed(0)
    save(create("convtasnet", **SMALL, blocks=2, consistency="remainder"), path)
    return path


def test_eager(checkpoint) -> None:
    verdict = verify(checkpoint, ["eager"])
    assert verdict.ok
    assert [(c.engine, c.dtype) for c in verdict.checks] == [
        ("eager", "float64"),
        ("eager", "float32"),
    ]
    assert verdict.declared == verdict.measured == 8
    assert all(c.bound == BOUNDS[c.dtype] for c in verdict.checks)


def test_command_prints_json(checkpoint, capsys) -> None:
    command(str(checkpoint), as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] is True
    assert said["latency"] == {"declared": 8, "measured": 8}
    assert {(c["engine"], c["dtype"]) for c in said["checks"]} >= {
        ("eager", "float64"),
        ("eager", "float32"),
        ("onnxruntime", "float32"),
    }
    assert all(set(c) == {"engine", "dtype", "error", "bound", "ok"} for c in said["checks"])


def test_command_prints_a_table(checkpoint, capsys) -> None:
    command(str(checkpoint), engine=["eager"])
    said = capsys.readouterr().out
    assert "float64" in said and "8 declared, 8 measured" in said


def test_unknown_engine(checkpoint) -> None:
    with pytest.raises(Failure, match="no engine 'abacus'"):
        command(str(checkpoint), engine=["abacus"])


class Late(ConvTasNet):
    """Says that it is a hop later than it is."""

    def initial(self, batch, onset=0):
        state, out = super().initial(batch, onset)
        return state, out + self.hop


class Forgetful(ConvTasNet):
    """Streams something else than it gives offline."""

    def step(self, x, state):
        y, state = super().step(x, state)
        return y * (1 + 1e-3 * (x.shape[1] > 16 * self.hop)), state


def test_finds_a_wrong_latency() -> None:
    model = Late(**SMALL, blocks=2)
    verdict = verify(model, ["eager"])
    assert (verdict.declared, verdict.measured) == (16, 8)
    assert not verdict.ok


def test_finds_a_stream_that_differs() -> None:
    verdict = verify(Forgetful(**SMALL, blocks=2), ["eager"])
    assert not verdict.ok
    assert all(c.error == pytest.approx(1e-3, rel=0.1) for c in verdict.checks)


def test_ends_with_exit_code_1_where_it_is_not_ok(checkpoint, monkeypatch, capsys) -> None:
    bad = Verdict((Check("eager", "float32", float("inf"), 1e-5),), 8, None)
    monkeypatch.setattr("rtsep.verification.verify", lambda *a: bad)
    for as_json in (True, False):
        with pytest.raises(typer.Exit) as end:
            command(str(checkpoint), as_json=as_json)
        assert end.value.exit_code == 1
    assert "at no shift" in capsys.readouterr().out


def test_twin_is_aligned_with_the_input() -> None:
    """A model that passes everything on: masks of 1, and bases that invert each other."""
    model = create("convtasnet", filters=4, kernel=4, stride=4, mask="linear", stems=("all",))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.network.layers[0].weight.copy_(torch.eye(4)[:, None])
        model.network.layers[2].weight.copy_(torch.eye(4)[:, None])
        model.network.layers[1].branches[0].exit.bias.fill_(1)
    x = torch.randn(1, 50, 1)
    np.testing.assert_allclose(twin(model)(x)[:, :, 0].detach(), x)
