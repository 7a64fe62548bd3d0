"""What a network sees of a spectrum.

The functions take (batch, frames, bins, 2 * channels), real and imaginary parts channel after
channel, and give (batch, frames, bins * channels), channels fastest: each frame alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rtsep.layers.normalisation import MovingMeanNorm
from rtsep.streaming import Fork, Pointwise, Serial, StreamingLayer

# Below this power nothing is heard: it keeps roots finite.
_FLOOR = 1e-12


def features(
    spectrum: tuple[int, ...],
    shape: Callable[[Tensor], Tensor],
    norm: Callable[[int], StreamingLayer] | None,
    span: float = 0.0,
) -> list[StreamingLayer]:
    """One after the other: spectra of frames of this shape to (batch, frames, width).

    Args:
        shape: one of the functions below.
        norm: makes the norm of what it gives, for a number of channels; None for none.
        span: frames over which the moving mean of each bin's loudness is taken: how much louder
            than of late it is comes after the rest, and doubles the width; 0 leaves it out.
    """
    width = spectrum[0] * spectrum[1] // 2
    seen: list[StreamingLayer] = [Pointwise(shape, spectrum, (width,))]
    if norm is not None:
        seen.append(norm(width))
    if not span:
        return seen
    change = Serial(Pointwise(loudness, spectrum, (width,)), MovingMeanNorm(width, span))
    return [Fork([Serial(*seen), change], side_by_side, (2 * width,))]


def power(spectrum: Tensor) -> Tensor:
    """The squared magnitude."""
    return spectrum.unflatten(-1, (-1, 2)).square().sum(-1).flatten(2)


def loudness(spectrum: Tensor) -> Tensor:
    """A quarter of the power's logarithm: of the order of 1 for changes that are heard."""
    return 0.25 * torch.log(power(spectrum) + 1e-10)


def compressed(exponent: float, scale: float = 1.0) -> Callable[[Tensor], Tensor]:
    """The magnitude times `scale`, to the power of `exponent`."""

    def function(spectrum: Tensor) -> Tensor:
        return (power(spectrum) * scale**2 + _FLOOR) ** (exponent / 2)

    return function


def decibels(scale: float = 1.0, floor: float = -80.0) -> Callable[[Tensor], Tensor]:
    """The level of the magnitude times `scale` in dB, nothing below `floor`."""

    def function(spectrum: Tensor) -> Tensor:
        least = 10 ** (floor / 10)
        return 10 * torch.log10(torch.clamp(power(spectrum) * scale**2, min=least))

    return function


def side_by_side(first: Tensor, second: Tensor) -> Tensor:
    return torch.cat([first, second], -1)
