"""Demucs's public classes: the causal one, and those that see a whole segment."""

from __future__ import annotations

import pytest
import torch

from parity.blocks import check_in_blocks
from parity.form import Form, close, outside
from parity.vectors import Vector
from rtsep import create
from rtsep.checkpoints import importers
from rtsep.models.base import Separator

# Crossings of the resampling sinc to either side.
_ZEROS = 56


class Denoiser(Form):
    """It fills its input up to whole windows and stops there, where a stream hears on.

    Near that end there are no further frames to be added to the last ones, and twice upsampled
    sound lacks what the first upsampling would have made of the silence after it; both are left
    out. With `normalize` it divides by the deviation of the whole signal, which no stream knows:
    compared is a network whose first and last weights contain that division.
    """

    def model(self, vector: Vector) -> Separator:
        config = vector.config | {"normalize": False}
        return _at_level(importers.convert(vector.weights, "denoiser", config), vector)

    def check_imported(self, vector: Vector, model: Separator) -> None:
        assert bool(model.params["adaptation"]) == vector.config.get("normalize", True)
        unlevelled = create("demucs", **(model.params | {"adaptation": 0.0})).eval()
        values = model.state_dict().values()
        unlevelled.load_state_dict(dict(zip(unlevelled.state_dict(), values, strict=True)))
        super().check_imported(vector, _at_level(unlevelled, vector))

    def comparable(self, vector: Vector, model: Separator) -> slice:
        p, samples = model.params, vector.tensors["output"].shape[-1]
        depth, kernel, stride = len(p["hidden"]), p["kernel"], p["stride"]
        rounds = {1: 0, 2: 1, 4: 2}[p["resample"]]

        def frames(length: int) -> int:
            return (length - kernel) // stride + 1

        length = samples * p["resample"]
        for _ in range(depth):
            length = max(-(-(length - kernel) // stride) + 1, 1)
        for _ in range(depth):
            length = (length - 1) * stride + kernel
        # Whole base samples, so the input ends there at the base rate.
        length = -(-length // p["resample"]) * p["resample"]
        # Of twice upsampled sound, what the second sinc's later half would reach over the end.
        length -= 2 * _ZEROS * (rounds == 2)
        for _ in range(depth):
            length = frames(length)
        length *= stride**depth
        for _ in range(rounds):
            length = (length - 2 * (_ZEROS - 1)) // 2
        kept = min(samples, length)
        # At most a frame of the innermost level, its windows, and the filters.
        assert samples - kept < 3 * stride ** (depth - 1) * kernel // p["resample"] + 4 * _ZEROS
        return slice(0, kept)


class Segmented(Form):
    """It sees its whole input: compared on the recorded segment, then in blocks."""

    def check_whole(self, vector: Vector) -> None:
        found = self.model(vector).network.segment(vector.mixture)
        close("whole", outside(found), vector.tensors["output"], vector.bound())

    def check_streamed(self, vector: Vector, seed: int) -> None:
        check_in_blocks(vector, self.model(vector), seed)

    def check_look_ahead(self, vector: Vector) -> None:
        """Of blocks it is what they were given; that they give it, `check_in_blocks` tests."""

    @torch.no_grad()
    def check_imported(self, vector: Vector, model: Separator) -> None:
        assert model.rate == int(vector.metadata["sample_rate"])
        assert model.stems == tuple(vector.config["sources"])
        found = model.network.segment(vector.mixture)
        close("imported", outside(found), vector.tensors["output"], vector.bound())


class PublicPackage(Segmented):
    """The public class itself, where its package is installed."""

    def model(self, vector: Vector) -> Separator:
        pytest.importorskip("demucs.htdemucs", reason="the extra [demucs] is not installed")
        return super().model(vector)

    def check_imported(self, vector: Vector, model: Separator) -> None:
        super().check_imported(vector, model)
        assert model.params["blocks"]["window"] == vector.mixture.shape[1]


@torch.no_grad()
def _at_level(model: Separator, vector: Vector) -> Separator:
    """The model with the division by the whole signal's deviation in its outermost weights."""
    if vector.config.get("normalize", True):
        deviation = vector.tensors["input"].mean(1).std()
        first, *_, last, bias = model.parameters()
        first /= vector.config.get("floor", 1e-3) + deviation
        last *= deviation
        bias *= deviation
    return model


FORMS: dict[str, Form] = {
    "denoiser.demucs.Demucs": Denoiser(),
    "demucs.demucs.Demucs": Segmented(),
    "demucs.htdemucs.HTDemucs": PublicPackage(),
}
