"""What Mask Inference, Deep Clustering and Chimera have in common: spectra, one trunk, masks."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from rtsep.errors import WrongCall
from rtsep.layers import (
    LSTM,
    Affine,
    CumulativeLayerNorm,
    FrameLayerNorm,
    InverseSpectrogram,
    Spectrogram,
)
from rtsep.layers.features import compressed, decibels, features
from rtsep.layers.spectrogram import window_pair
from rtsep.models.arguments import at_least, one_of
from rtsep.models.base import Separator
from rtsep.streaming import Pointwise, Residual, Serial, Skip, StreamingLayer

FEATURES = ("magnitude", "compressed", "decibels")
NORMS = {
    "none": None,
    "affine": lambda width, eps: Affine(width),
    "frame": FrameLayerNorm,
    "cumulative": CumulativeLayerNorm,
}
ACTIVATIONS = {
    "linear": nn.Identity(),
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "tanh": torch.tanh,
}
MASKS = {**ACTIVATIONS, "softmax": lambda scores: scores.softmax(-3)}

# A size that nussl's own recipes train, less the backward LSTMs.
NUSSL_8K = {
    "rate": 8000,
    "window": 256,
    "hop": 64,
    "synthesis": None,
    "padding": 128,
    "feature": "decibels",
    "norm": "affine",
    "hidden": 600,
    "layers": 4,
    "residual": False,
}


class SpectralSeparator(Separator):
    """Masks on the mixture's short-time spectrum; the stems keep its phase.

    Named configurations are the low-latency form and nussl's.

    A subclass makes a layer of its own from spectra (batch, frames, bins, 2 * channels) to masks
    (batch, frames, masks, bins, channels), with the help of `new_trunk`, and calls `finish_masks`.

    Args:
        window, hop: of the spectrum, in samples.
        synthesis: the part of a window that is heard, in samples; None is all of it. The latency is
            `synthesis - hop`, so that a long window, which tells frequencies apart, need not cost
            more than a short one.
        padding: zeros that the public form puts before the first sample: half a window where its
            frames are centred; None is `window - hop`.
        feature: "magnitude", "compressed" (to the power of `exponent`) or "decibels" (nothing below
            -80), of a spectrum in which a sine at full scale has the magnitude 0.5.
        norm: of the features: "frame", "cumulative", "affine" (a learnt gain and bias alone) or
            "none".
        adaptation: seconds over which a moving mean of each bin's loudness is taken: how much
            louder than of late it is, is then seen as well; 0 leaves that out.
        entry: units of a product before the first recurrent layer; 0 for none.
        hidden, layers: units and number of the LSTMs, which run forward in time alone.
        residual: whether an LSTM's input is added to its output, where both are as wide.
        consistency: "none"; "equal" shares what the stems miss of the mixture among them;
            "remainder" makes the remainder stem what the others leave, and estimates only those.
        own: the subclass's arguments, kept with these.
    """

    configurations: ClassVar[dict[str, dict]] = {"low-latency": {}, "nussl-8k": NUSSL_8K}

    def __init__(
        self,
        *,
        rate: int = 16000,
        channels: int = 1,
        stems: tuple[str, ...] = ("voice", "background"),
        primary: str | None = None,
        remainder: str | None = None,
        window: int = 512,
        hop: int = 64,
        synthesis: int | None = 128,
        padding: int | None = None,
        feature: str = "compressed",
        exponent: float = 0.3,
        norm: str = "frame",
        adaptation: float = 0.0,
        entry: int = 0,
        hidden: int = 320,
        layers: int = 2,
        residual: bool = True,
        consistency: str = "none",
        eps: float = 1e-8,
        own: dict,
    ) -> None:
        common = {name: value for name, value in locals().items() if name != "own"}
        super().__init__(common | own)
        one_of(
            feature=(feature, FEATURES),
            norm=(norm, NORMS),
        )
        at_least(1, hop=hop, hidden=hidden, layers=layers)
        at_least(0, entry=entry, adaptation=adaptation)
        if not exponent > 0:
            raise WrongCall(f"exponent {exponent:g}: it is above 0")
        analysis, _ = window_pair(window, window if synthesis is None else synthesis, hop)
        # What a magnitude is multiplied by, so that a sine at full scale has 0.5.
        self.scale = 1 / float(analysis.sum())
        self.bins = window // 2 + 1
        self.masks = len(self.estimated)

    def new_trunk(self) -> Trunk:
        """Spectra to frames (batch, frames, hidden), with fresh weights."""
        p, scale = self.params, self.scale
        exponent = p["exponent"] if p["feature"] == "compressed" else 1.0
        seen = features(
            self.spectrum,
            decibels(scale) if p["feature"] == "decibels" else compressed(exponent, scale),
            NORMS[p["norm"]] and functools.partial(NORMS[p["norm"]], eps=p["eps"]),
            p["adaptation"] * self.rate / p["hop"],
        )
        return Trunk(seen, p["entry"], p["hidden"], p["layers"], p["residual"])

    def finish_masks(self, masks: StreamingLayer) -> None:
        """Takes the layer from spectra to masks."""
        p = self.params
        windows = {k: p[k] for k in ("window", "hop", "synthesis", "channels", "padding")}
        over = (self.masks,)
        masked = Skip(masks, apply_masks, (*over, self.bins, 2 * self.channels))
        network: StreamingLayer = Serial(
            Spectrogram(**windows), masked, InverseSpectrogram(**windows, over=over)
        )
        self.finish(network)

    @property
    def spectrum(self) -> tuple[int, int]:
        """The shape of a frame of the mixture's spectrum."""
        return self.bins, 2 * self.channels

    @property
    def spectrogram(self) -> Spectrogram:
        return self._part(Spectrogram)

    @property
    def trunk(self) -> Trunk:
        return self._part(Trunk)

    def _part(self, kind: type):
        return next(part for part in self.modules() if isinstance(part, kind))


class Trunk(Serial):
    """What is seen of the spectrum, perhaps a product, and LSTMs one after the other."""

    def __init__(
        self, seen: list[StreamingLayer], entry: int, hidden: int, layers: int, residual: bool
    ) -> None:
        (width,) = seen[-1].outputs
        parts = list(seen)
        if entry:
            parts.append(Pointwise(nn.Linear(width, entry), (width,), (entry,)))
            width = entry
        for _ in range(layers):
            lstm = LSTM(width, hidden)
            with torch.no_grad():
                # What is in the cell stays there at first (Jozefowicz et al. 2015).
                lstm.bias_ih_l0[hidden : 2 * hidden] = 1
            parts.append(Residual(lstm) if residual and width == hidden else lstm)
            width = hidden
        super().__init__(*parts)


class Head(nn.Module):
    """A product with a matrix and an activation: (…, hidden) to (…, *shape)."""

    def __init__(
        self, hidden: int, shape: tuple[int, ...], activation: Callable[[Tensor], Tensor]
    ) -> None:
        super().__init__()
        self.shape, self.activation = shape, activation
        self.product = nn.Linear(hidden, math.prod(shape))

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.product(x).unflatten(-1, self.shape))


def mask_head(model: SpectralSeparator, activation: str) -> Pointwise:
    """Trunk frames to masks."""
    one_of(mask=(activation, MASKS))
    shape = (model.masks, model.bins, model.channels)
    hidden = model.params["hidden"]
    return Pointwise(Head(hidden, shape, MASKS[activation]), (hidden,), shape)


def apply_masks(masks: Tensor, spectrum: Tensor) -> Tensor:
    """Each stem's spectrum, (batch, frames, masks, bins, 2 * channels)."""
    parts = spectrum.unflatten(-1, (-1, 2))[:, :, None]
    return (masks[..., None] * parts).flatten(-2)
