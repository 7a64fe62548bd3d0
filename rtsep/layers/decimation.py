"""Fewer frames and more again, in whole steps: what a Wave-U-Net is named after.

In public time decimation keeps the frame `stride * j + phase` of each `stride`; interpolation puts
its frame `j` back there. With the latest frame kept (phase `stride - 1`) neither costs latency, as
the line from one kept frame to the next ends where the newest frame is.
"""

from __future__ import annotations

from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor

from rtsep.layers.convolution import DepthwiseConv
from rtsep.streaming.layer import StreamingLayer
from rtsep.streaming.state import (
    State,
    live_frames,
    next_countdown,
    silence,
    start_countdown,
)


class Decimate(StreamingLayer):
    """One of every `stride` frames, the latest or, with `phase` 0, the first."""

    def __init__(self, channels: int, stride: int, phase: int | None = None) -> None:
        super().__init__()
        self.stride, self.phase = stride, stride - 1 if phase is None else phase
        if not 0 <= self.phase < stride:
            raise ValueError(f"phase {phase} is not within 0 and {stride - 1}")
        self.ratio, self.hop = Fraction(1, stride), stride
        self.inputs = self.outputs = (channels,)

    def initial(self, batch: int, onset: int = 0) -> tuple[State, int]:
        extra = -onset % self.stride
        return {"past": self.zeros(batch, extra, *self.inputs)}, (onset + extra) // self.stride

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        frames = x.shape[1]
        joined = torch.cat([state["past"], x], 1)
        return joined[:, self.phase : frames : self.stride], {"past": joined[:, frames:]}

    def segment(self, x: Tensor) -> Tensor:
        """The last frame kept may be one of a stride that is not complete."""
        return x[:, self.phase :: self.stride]


class Interpolate(StreamingLayer):
    """`stride` frames for each, on the line from the one before; nothing is before the first.

    Frame `j` of the input is at `stride * j + phase` in public time.
    """

    def __init__(self, channels: int, stride: int, phase: int | None = None) -> None:
        super().__init__()
        self.stride, self.phase = stride, stride - 1 if phase is None else phase
        if not 0 <= self.phase < stride:
            raise ValueError(f"phase {phase} is not within 0 and {stride - 1}")
        self.ratio = Fraction(stride)
        self.inputs = self.outputs = (channels,)

    def initial(self, batch: int, onset: int = 0) -> tuple[State, int]:
        # A line ends at the newest frame, so what the public form puts earlier comes later here.
        trim = self.stride - 1 - self.phase
        out = onset * self.stride + trim
        past = self.zeros(batch, 1, *self.inputs)
        return {"past": past} | start_countdown(batch, out if trim else 0, self.device), out

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        joined = torch.cat([state["past"], x], 1)
        rise = torch.arange(1, self.stride + 1, dtype=x.dtype, device=x.device) / self.stride
        begin, end = joined[:, :-1, None], joined[:, 1:, None]
        y = (begin + (end - begin) * rise[:, None]).flatten(1, 2)
        y = silence(y, live_frames(state, y.shape[1]))
        return y, {"past": joined[:, -1:]} | next_countdown(state, y.shape[1])

    def segment(self, x: Tensor) -> Tensor:
        """From the first frame to the last."""
        lines, _ = self.step(x, {"past": x[:, :1]})
        return lines[:, self.stride - 1 :]


class ZeroStuff(StreamingLayer):
    """Each frame, and `stride - 1` zeros after it: what a low-pass filter then interpolates."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride, self.ratio = stride, Fraction(stride)
        self.inputs = self.outputs = (channels,)

    def initial(self, batch: int, onset: int = 0) -> tuple[State, int]:
        return {}, onset * self.stride

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        zeros = x.new_zeros(*x.shape[:2], self.stride - 1, *self.inputs)
        return torch.cat([x[:, :, None], zeros], 2).flatten(1, 2), state

    def segment(self, x: Tensor) -> Tensor:
        """Ends with the last frame itself."""
        return self.step(x, {})[0][:, : (x.shape[1] - 1) * self.stride + 1]


class Lowpass(DepthwiseConv):
    """A centred filter of each channel; a segment's ends are reflected, a stream's start is not."""

    def __init__(self, channels: int, kernel: int) -> None:
        if kernel % 2 == 0:
            raise ValueError(f"a centred filter has an odd number of taps, not {kernel}")
        super().__init__(channels, kernel, padding=kernel // 2, bias=False)

    def segment(self, x: Tensor) -> Tensor:
        half = self.kernel // 2
        padded = F.pad(x.transpose(1, 2), (half, half), mode="reflect").transpose(1, 2)
        return self.convolve(padded[:, self.context :], padded[:, : self.context])[0]
