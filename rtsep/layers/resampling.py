"""Resampling within a network, by the short symmetric filters of the public forms.

A filter of `old` samples in and `new` out is a strided convolution with `new` outputs per position:
group `j` of the output covers the samples `j old - p ... j old - p + taps - 1`. The sound of the
future that a symmetric filter hears is the onset of its output.
"""

from __future__ import annotations

import math
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor

from rtsep.layers.convolution import onset_of
from rtsep.streaming.layer import StreamingLayer
from rtsep.streaming.state import (
    State,
    live_frames,
    next_countdown,
    silence,
    start_countdown,
)


class Resample(StreamingLayer):
    """(batch, n * old, channels) to (batch, n * new, channels) by a bank of fixed filters.

    Args:
        filters: (new, taps); output `j * new + i` is the sum over t of `filters[i, t]` times the
            input at `j * old - padding + t`.
        padding: zeros that the public form puts before the first sample.

    Beyond the ends of a segment its first and last sample stay, as julius has it.
    """

    def __init__(self, filters: Tensor, old: int, padding: int, channels: int) -> None:
        super().__init__()
        self.new, self.taps = filters.shape
        self.hop, self.padding = old, padding
        self.ratio = Fraction(self.new, old)
        self.inputs = self.outputs = (channels,)
        kept = filters.to(torch.get_default_dtype())
        self.register_buffer("filters", kept, persistent=False)

    def initial(self, batch: int, onset: int = 0) -> tuple[State, int]:
        context = self.taps - self.hop
        extra, groups = onset_of(onset, context - self.padding, self.hop)
        past = self.zeros(batch, context + extra, *self.inputs)
        out = groups * self.new
        masked = out if self.padding != context else 0
        return {"past": past} | start_countdown(batch, masked, self.device), out

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        joined = torch.cat([state["past"], x], 1)
        used = joined[:, : x.shape[1] + self.taps - self.hop]
        y = self.filtered(used)
        y = silence(y, live_frames(state, y.shape[1]))
        return y, {"past": joined[:, x.shape[1] :]} | next_countdown(state, y.shape[1])

    def segment(self, x: Tensor) -> Tensor:
        wanted = x.shape[1] * self.new // self.hop
        groups = -(-wanted // self.new)
        after = max(0, (groups - 1) * self.hop + self.taps - self.padding - x.shape[1])
        before = x[:, :1].expand(-1, self.padding, -1)
        held = torch.cat([before, x, x[:, -1:].expand(-1, after, -1)], 1)
        return self.filtered(held)[:, :wanted]

    def filtered(self, x: Tensor) -> Tensor:
        """What can be computed of (batch, samples, channels), without padding and state."""
        batch, samples, channels = x.shape
        rows = x.transpose(1, 2).reshape(batch * channels, 1, samples)
        groups = F.conv1d(rows, self.filters[:, None], stride=self.hop)
        # (batch * channels, new, groups) to (batch, groups * new, channels)
        return groups.transpose(1, 2).reshape(batch, channels, -1).transpose(1, 2)


def doubled(channels: int, zeros: int = 56) -> Resample:
    """Twice the rate: every sample, and the windowed sinc's value half a sample later.

    The filter of `denoiser` (`zeros` crossings to either side, a Hann window); late by `zeros`.
    """
    between = _half_band(zeros)
    itself = torch.zeros_like(between)
    itself[zeros - 1] = 1
    return Resample(torch.stack([itself, between]), 1, zeros - 1, channels)


def halved(channels: int, zeros: int = 56) -> Resample:
    """Half the rate, by the same filter; late by `zeros` samples of the lower rate, less one."""
    filters = torch.zeros(4 * zeros - 1, dtype=torch.float64)
    filters[::2] = _half_band(zeros) / 2
    filters[2 * zeros - 1] = 0.5
    return Resample(filters[None], 2, 2 * zeros - 1, channels)


def resampled(channels: int, old: int, new: int, zeros: int = 24, band: float = 0.945) -> Resample:
    """`new` samples for every `old`, by the filters of `julius.resample_frac`.

    Sincs of `band` times half the lower rate, `zeros` crossings to either side under a squared
    cosine, each scaled to a sum of 1. `old` and `new` share no factor.
    """
    rate = band * min(old, new)
    width = math.ceil(zeros * old / rate)
    taps = torch.arange(-width, width + old, dtype=torch.float64) / old
    times = (taps - torch.arange(new, dtype=torch.float64)[:, None] / new) * rate
    times = times.clamp(-zeros, zeros)
    filters = torch.sinc(times) * torch.cos(math.pi * times / (2 * zeros)).square()
    return Resample(filters / filters.sum(1, keepdim=True), old, width, channels)


def _half_band(zeros: int) -> Tensor:
    """(2 zeros,) float64: the sinc halfway between samples, under a Hann window."""
    times = torch.arange(2 * zeros, dtype=torch.float64) - zeros + 0.5
    window = 0.5 + 0.5 * torch.cos(math.pi * times / zeros)
    return torch.sinc(times) * window
