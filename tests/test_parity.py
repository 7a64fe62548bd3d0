"""Public implementations, recorded: the same outputs, whole and streamed, from the same weights.

Each vector is a safetensors file with `input`, `output`, `weights/…` and metadata that states the
public class, its arguments and conventions. They are looked for in the folder that
`RTSEP_PARITY_DIR` names, else in `../shared/parity` beside the repository.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

import rtsep
from rtsep.checkpoints import importers
from rtsep.models.base import Separator
from rtsep.streaming import StateSpec

NAMED = os.environ.get("RTSEP_PARITY_DIR")
FOLDER = Path(NAMED or Path(__file__).parents[2] / "shared" / "parity")

# Public class -> whether its encoder pads. One that does has the whole output to compare; the
# output of one that does not ends with its last full window, and is filled up with zeros.
PADS = {
    "asteroid.models.ConvTasNet": False,
    "conv_tasnet.TasNet": True,
    "recipes.cad2.task1.ConvTasNet.local.tasnet.ConvTasNetStereo": False,
}
# What the public classes take where their arguments, as the metadata states them, leave it out.
DEFAULTS = {
    "asteroid": {
        "stride": 8,
        "n_blocks": 8,
        "norm_type": "cLN",
        "mask_act": "sigmoid",
        "sample_rate": 8000,
    },
    "naplab": {"sr": 16000, "layer": 8},
    "cadenza": {"samplerate": 44100, "mask_nonlinear": "relu"},
}


@dataclass(frozen=True)
class Vector:
    path: Path
    metadata: dict

    @classmethod
    def at(cls, path: Path) -> Vector:
        with safe_open(path, "pt") as file:
            return cls(path, file.metadata())

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        return load_file(self.path)

    @property
    def why_not(self) -> str | None:
        """Why it can't be compared; None where it can."""
        if self.metadata["class"] not in PADS:
            return f"{self.metadata['class']} ({self.metadata['format']}) is not yet covered"
        if self.metadata["causal"] != "true":
            return "not causal"
        return None

    @property
    def bound(self) -> float:
        """Largest absolute difference allowed."""
        rounding = json.loads(self.metadata["float32_vs_float64_max_abs"])["output"]
        return max(1e-5 * float(self.tensors["output"].abs().max()), 10 * rounding)

    def model(self) -> Separator:
        weights = {
            key.removeprefix("weights/"): value
            for key, value in self.tensors.items()
            if key.startswith("weights/")
        }
        public = self.metadata["format"]
        config = DEFAULTS[public] | json.loads(self.metadata["config"])
        return importers.convert(weights, public, config)


FOUND = [Vector.at(path) for path in sorted(FOLDER.glob("*.safetensors"))]
COVERED = [pytest.param(v, id=v.path.stem) for v in FOUND if v.why_not is None]
if NAMED and not COVERED:
    pytest.fail(f"RTSEP_PARITY_DIR: {FOLDER} holds no vector that is covered", pytrace=False)
if not FOUND:
    pytest.skip(f"no parity vectors in {FOLDER}: nothing compared", allow_module_level=True)


@pytest.mark.parametrize("vector", [v for v in FOUND if v.why_not], ids=lambda v: v.path.stem)
def test_not_covered(vector: Vector) -> None:
    pytest.skip(f"{vector.path.stem}: {vector.why_not}")


@pytest.mark.parametrize("vector", COVERED)
@torch.no_grad()
def test_whole(vector: Vector) -> None:
    """Offline, and, where the public form ends with its last window, the end of that window."""
    model, x, expected = vector.model(), frames_first(vector), vector.tensors["output"]
    compare(vector, "whole", outside(model(x)), expected[..., : unpadded(vector, model)])
    if not PADS[vector.metadata["class"]]:
        frames, window_end = last_window(model, x.shape[1])
        _, state = model.step(
            whole_hops(model, x, frames * model.hop + model.latency), start(model, x)
        )
        compare_end(vector, model, state, frames, window_end)


@pytest.mark.parametrize("vector", COVERED)
@pytest.mark.parametrize("seed", range(3))
@torch.no_grad()
def test_streamed(vector: Vector, seed: int) -> None:
    """Chunk by chunk: one hop each for seed 0, random multiples of the hop for the others."""
    model, x, expected = vector.model(), frames_first(vector), vector.tensors["output"]
    latency = model.latency
    frames, window_end = last_window(model, x.shape[1])
    pads = PADS[vector.metadata["class"]]
    length = expected.shape[-1] + latency if pads else frames * model.hop + latency
    y, state = streamed(model, whole_hops(model, x, length), seed)
    y = outside(y)[..., latency:]
    compare(vector, "streamed", y, expected[..., : unpadded(vector, model)])
    if not pads:
        compare_end(vector, model, state, frames, window_end)


@pytest.mark.parametrize("vector", COVERED)
def test_look_ahead(vector: Vector) -> None:
    """The stream is late by what the public form looks ahead, rounded up to hops; never by more."""
    measured = vector.metadata.get("measured_lookahead_samples")
    if measured is None:
        pytest.skip("the vector states no look-ahead")
    ahead = int(measured)
    model = vector.model()
    assert model.hop == int(vector.metadata["hop"])
    assert ahead + 1 - model.hop <= model.latency < ahead + 1


@pytest.mark.parametrize("vector", COVERED)
def test_command_line(vector: Vector, tmp_path: Path) -> None:
    """`rtsep import` of the public file makes a checkpoint whose model has the vector's output."""
    from rtsep.cli.import_ import command

    source, config = vector.path.with_suffix(".pt"), vector.path.with_suffix(".json")
    if not source.is_file():
        pytest.skip(f"the vector comes without {source.name}")
    out = tmp_path / "imported.safetensors"
    command(source, format=vector.metadata["format"], config=config, out=out)
    model, expected = rtsep.load(out), vector.tensors["output"]
    assert model.rate == int(vector.metadata["sample_rate"])
    y = model.separate(vector.tensors["input"])
    compare(vector, "imported", y, expected[..., : unpadded(vector, model)])


def frames_first(vector: Vector) -> Tensor:
    return vector.tensors["input"].transpose(1, 2)


def outside(y: Tensor) -> Tensor:
    """(batch, samples, stems, channels) to the vectors' (batch, stems, channels, samples)."""
    return y.permute(0, 2, 3, 1)


def start(model: Separator, x: Tensor):
    return model.initial(x.shape[0])[0]


def last_window(model: Separator, samples: int) -> tuple[int, int]:
    """How many full windows an encoder that does not pad finds, and where the last one ends."""
    kernel, stride = model.params["kernel"], model.params["stride"]
    frames = (samples - kernel) // stride + 1
    return frames, (frames - 1) * stride + kernel


def unpadded(vector: Vector, model: Separator) -> int:
    """Samples to compare before the decoder's end, which a stream would add further windows to."""
    samples = vector.tensors["output"].shape[-1]
    if PADS[vector.metadata["class"]]:
        return samples
    return last_window(model, samples)[0] * model.params["stride"]


def compare_end(vector: Vector, model: Separator, state, frames: int, window_end: int) -> None:
    """What the decoder still holds after the last full window is the public form's end.

    After it come only the zeros with which the public form fills up its output to the input's
    length: less than one stride of them, and nothing to compare.
    """
    expected = vector.tensors["output"]
    assert expected.shape[-1] - window_end < model.params["stride"]
    assert not expected[..., window_end:].any()
    spec = StateSpec.of(state)
    held = dict(zip(spec.names, spec.flatten(state), strict=True))
    (tail,) = (value for name, value in held.items() if name.endswith("tail"))
    first = frames * model.params["stride"]
    # Where the windows don't overlap, nothing is held.
    if first < window_end:
        compare(vector, "end", outside(tail), expected[..., first:window_end])


def whole_hops(model: Separator, x: Tensor, length: int) -> Tensor:
    """The input cut or filled up with zeros to `length` samples, rounded up to hops."""
    length = -(-length // model.hop) * model.hop
    missing = max(0, length - x.shape[1])
    return torch.cat([x, x.new_zeros(x.shape[0], missing, x.shape[2])], 1)[:, :length]


def streamed(model: Separator, x: Tensor, seed: int):
    random = torch.Generator().manual_seed(seed)
    state, parts, at = start(model, x), [], 0
    while at < x.shape[1]:
        hops = 1 if seed == 0 else int(torch.randint(1, 40, (), generator=random))
        y, state = model.step(x[:, at : at + hops * model.hop], state)
        parts.append(y)
        at += hops * model.hop
    return torch.cat(parts, 1), state


def compare(vector: Vector, what: str, found: Tensor, expected: Tensor) -> None:
    n = expected.shape[-1]
    assert found.shape[-1] >= n, f"{what}: {found.shape[-1]} samples of {n}"
    error = float((found[..., :n] - expected).abs().max())
    print(
        f"{what}: {n} samples of {vector.tensors['output'].shape[-1]}, {error:.1e} off, "
        f"{vector.bound:.1e} allowed"
    )
    assert error <= vector.bound
