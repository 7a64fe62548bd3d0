"""Demucs's public files: told apart by content, classes read by name alone, what is refused."""

from __future__ import annotations

import sys
import types
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor

import rtsep
from rtsep import create
from rtsep.checkpoints.importers import convert, demucs, denoiser, detect, read
from rtsep.cli.import_ import command
from rtsep.errors import Failure

CAUSAL = {"hidden": (3, 6), "kernel": 8, "stride": 4, "synthesis": None, "resample": 4}
BLOCKS = {"window": 400, "hop": 100, "lookahead": 50, "crossfade": 20}
CHUNKED = {"channels": 2, "hidden": (4, 8), "layers": 0, "branches": 1, "resample": True}
CHUNKED |= {"norm_from": 1, "recurrent_from": 1, "attentive_from": 1, "compression": 2}
SOURCES = ["drums", "vocals"]


def causal() -> tuple[rtsep.models.base.Separator, dict[str, Tensor]]:
    model = create("demucs", **CAUSAL, stems=("voice",), adaptation=10.0, floor=1e-3).eval()
    return model, _public(model, denoiser._keys(2, 2))


def chunked() -> tuple[rtsep.models.base.Separator, dict[str, Tensor]]:
    model = create("demucs-chunked", **CHUNKED, stems=SOURCES, blocks=BLOCKS).eval()
    return model, _public(model, demucs._keys(model.params))


def _public(model, keys: list[str]) -> dict[str, Tensor]:
    """The public forms have convolutions of kernel 1 for products, but within recurrences."""
    tensors = {k: p.data.clone() for k, p in zip(keys, model.parameters(), strict=True)}
    return {
        k: v[..., None] if v.dim() == 2 and "lstm" not in k and "linear" not in k else v
        for k, v in tensors.items()
    }


@pytest.fixture
def package():
    """A class by the public name, as it is where the file is written; gone where it is read."""

    def save(path: Path, name: str, **content) -> Path:
        module, _, short = name.rpartition(".")
        there = types.ModuleType(module)
        public = type(short, (), {"__module__": module})
        setattr(there, short, public)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, module.split(".")[0], there)
            patch.setitem(sys.modules, module, there)
            torch.save(
                {key: public if value is ... else value for key, value in content.items()}, path
            )
        return path

    return save


def test_told_apart() -> None:
    assert detect(causal()[1]) == "denoiser"
    assert detect(chunked()[1]) == "demucs"


@torch.no_grad()
def test_causal_state_dict(tmp_path: Path) -> None:
    """With the class's defaults; a second stem is what the first leaves."""
    model, tensors = causal()
    torch.save(tensors, tmp_path / "dns.th")
    out = tmp_path / "x.safetensors"
    command(tmp_path / "dns.th", out=out, stems="voice,background")
    found, x = rtsep.load(out), torch.randn(1, 1, 2000)
    voice, background = found.separate(x).unbind(1)
    torch.testing.assert_close(voice, model.separate(x)[:, 0])
    torch.testing.assert_close(voice + background, x)
    assert "level of the last 10 s" in found.spec.card["imported"]["differs"][0]
    with pytest.raises(Failure, match="3 stems named, the checkpoint has 1"):
        read(tmp_path / "dns.th", stems=("a", "b", "c"))


@torch.no_grad()
def test_causal_package(tmp_path: Path, package) -> None:
    model, tensors = causal()
    arguments = {"hidden": 3, "depth": 2, "normalize": False, "sample_rate": 8000}
    path = package(
        tmp_path / "best.th",
        "denoiser.demucs.Demucs",
        **{"class": ..., "args": (), "kwargs": arguments, "state": tensors},
    )
    found = read(path)
    assert (found.rate, found.params["adaptation"], found.remarks) == (8000, 0.0, ())


@torch.no_grad()
def test_chunked_package(tmp_path: Path, package) -> None:
    model, tensors = chunked()
    arguments = {"sources": SOURCES, "segment": Fraction(1, 50), "samplerate": 16000}
    arguments |= {"norm_starts": 1, "dconv_comp": 2}
    path = package(
        tmp_path / "955.th",
        "demucs.demucs.Demucs",
        klass=...,
        args=(),
        kwargs=arguments,
        state={key: value.half() for key, value in tensors.items()},
        training_args={"epochs": 360},
    )
    found, x = read(path), torch.randn(1, 320, 2)
    assert (found.stems, found.rate, found.hop) == (("drums", "vocals"), 16000, 40)
    torch.testing.assert_close(
        found.network.segment(x), model.network.segment(x), atol=2e-3, rtol=1e-2
    )
    assert read(path, config={"blocks": BLOCKS}).params["blocks"] == BLOCKS


def test_refused(tmp_path: Path, package) -> None:
    _, tensors = causal()
    both = tensors | {"lstm.lstm.weight_ih_l0_reverse": tensors["lstm.lstm.weight_ih_l0"]}
    with pytest.raises(Failure, match="lstm.lstm run backwards in time, too; .*Blockwise"):
        convert(both, "denoiser", {})
    with pytest.raises(Failure, match="glu is False by the settings, True by the tensors"):
        convert(tensors, "denoiser", {"glu": False})
    _, tensors = chunked()
    with pytest.raises(Failure, match="context is 3 by the settings, 1 by the tensors"):
        convert(tensors, "demucs", {"context": 3})
    content = {"klass": ..., "args": (SOURCES,), "kwargs": {}, "state": tensors}
    with pytest.raises(Failure, match="arguments without their names"):
        read(package(tmp_path / "a.th", "demucs.demucs.Demucs", **content))
    with pytest.raises(Failure, match="it asks for demucs.wav.Wav"):
        read(package(tmp_path / "b.th", "demucs.wav.Wav", **content))
