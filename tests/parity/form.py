"""How a vector is held against our model. The base is that of a causal form with one output."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from parity.vectors import Vector
from rtsep.checkpoints import importers
from rtsep.models.base import Separator


class Form:
    """A public class's conventions, as far as they matter for a comparison.

    `defaults` are arguments that the public class takes where the metadata leaves them out. A form
    overrides what is different with it: the range that can agree, what else there is to compare, or
    how a network is streamed that sees a whole segment.
    """

    def __init__(self, **defaults) -> None:
        self.defaults = defaults

    def model(self, vector: Vector) -> Separator:
        config = self.defaults | vector.config
        return importers.convert(vector.weights, vector.metadata["format"], config)

    def settings_file(self, vector: Vector, folder: Path) -> Path:
        """What `rtsep import` is given as --config: the file that comes with the vector."""
        return vector.path.with_suffix(".json")

    def comparable(self, vector: Vector, model: Separator) -> slice:
        """The samples of the output that a stream can equal; the reason for leaving others out."""
        return slice(0, vector.tensors["output"].shape[-1])

    def check_whole(self, vector: Vector) -> None:
        """Offline."""
        model = self.model(vector)
        self.compare(vector, model, "whole", outside(model(vector.mixture)))

    def check_streamed(self, vector: Vector, seed: int) -> None:
        """Chunk by chunk: one hop each for seed 0, random multiples of the hop for the others."""
        model = self.model(vector)
        length = vector.tensors["output"].shape[-1] + model.latency
        y, _ = streamed(model, whole_hops(model, vector.mixture, length), seed)
        self.compare(vector, model, "streamed", outside(y)[..., model.latency :])

    def check_look_ahead(self, vector: Vector) -> None:
        """The stream is late by what the public form looks ahead, rounded up to hops; not more."""
        model, ahead = self.model(vector), int(vector.metadata["measured_lookahead_samples"])
        assert model.hop == int(vector.metadata["hop"])
        assert ahead + 1 - model.hop <= model.latency < ahead + 1

    def check_imported(self, vector: Vector, model: Separator) -> None:
        """The model that `rtsep import` made of the file of the source project."""
        assert model.rate == int(vector.metadata["sample_rate"])
        self.compare(vector, model, "imported", model.separate(vector.tensors["input"]))

    def compare(self, vector: Vector, model: Separator, what: str, found: Tensor) -> None:
        """`found` (batch, stems, channels, samples) against the output, where they can agree."""
        where = self.comparable(vector, model)
        expected = vector.tensors["output"][..., where]
        assert found.shape[-1] >= where.stop, f"{what}: {found.shape[-1]} samples of {where.stop}"
        close(what, found[..., where], expected, vector.bound())


def close(what: str, found: Tensor, expected: Tensor, bound: float) -> None:
    """Fails where the largest difference is above the bound; prints it in any case."""
    error = float((found - expected).abs().max())
    print(f"{what}: {expected.shape[-1]} samples, {error:.1e} off, {bound:.1e} allowed")
    assert found.shape == expected.shape
    assert error <= bound


def outside(y: Tensor) -> Tensor:
    """(batch, samples, stems, channels) to the vectors' (batch, stems, channels, samples)."""
    return y.permute(0, 2, 3, 1)


def whole_hops(model: Separator, x: Tensor, length: int) -> Tensor:
    """The input cut or filled up with zeros to `length` samples, rounded up to hops."""
    length = -(-length // model.hop) * model.hop
    missing = max(0, length - x.shape[1])
    return torch.cat([x, x.new_zeros(x.shape[0], missing, x.shape[2])], 1)[:, :length]


def streamed(model: Separator, x: Tensor, seed: int):
    """The stream's output and the state at its end."""
    random = torch.Generator().manual_seed(seed)
    state, parts, at = model.initial(x.shape[0])[0], [], 0
    while at < x.shape[1]:
        hops = 1 if seed == 0 else int(torch.randint(1, 40, (), generator=random))
        y, state = model.step(x[:, at : at + hops * model.hop], state)
        parts.append(y)
        at += hops * model.hop
    return torch.cat(parts, 1), state
