"""Convolutions over time, channels last.

With kernel span `w = (kernel - 1) * dilation + 1`, stride `s` and a public left padding `p`, frame
`j` of the public form covers the samples `j s - p ... j s - p + w - 1`, and a stream that emits a
frame as soon as `s` more samples are there emits it `(w - s - p) / s` frames later. That is the
onset; where it is no integer the input is delayed by what is missing.
"""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor, nn

from rtsep.layers.batchnorm import BatchNorm, folded, normed
from rtsep.streaming.layer import StreamingLayer
from rtsep.streaming.state import (
    State,
    live_frames,
    next_countdown,
    silence,
    start_countdown,
)


class Conv(StreamingLayer):
    """Equals `torch.nn.Conv1d` with `padding` zeros on the left and as many as needed on the right.

    Args:
        padding: the public form's left padding in samples; None is the causal `w - s` (no latency),
            0 the "valid" form, half the span a centred one. A segment is padded at either end.
        norm: follows the convolution; its frozen statistics are part of the product.

    Weight (outputs, inputs, kernel) and bias (outputs,) as in `torch.nn.Conv1d`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        *,
        dilation: int = 1,
        padding: int | None = None,
        bias: bool = True,
        norm: BatchNorm | None = None,
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.dilation = kernel, stride, dilation
        self.causal = padding is None
        self.context, self.padding = context_of(kernel, stride, dilation, padding)
        self.norm = norm
        self.ratio, self.hop = Fraction(1, stride), stride
        self.inputs, self.outputs = (inputs,), (outputs,)
        self.weight, self.bias = parameters(
            (outputs, inputs, kernel), inputs * kernel, outputs * bias
        )

    def initial(self, batch: int, onset: int = 0) -> tuple[State, int]:
        return initial_past(self, batch, onset)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        joined = torch.cat([state["past"], x], 1)
        frames = x.shape[1] // self.stride
        weight, bias = folded(self)
        taps = self._taps(joined, frames)
        y = taps @ weight.permute(2, 1, 0).reshape(-1, *self.outputs)
        if bias is not None:
            y = y + bias
        y = silence(normed(self, y), live_frames(state, frames))
        return y, {"past": joined[:, x.shape[1] :]} | next_countdown(state, frames)

    def segment(self, x: Tensor) -> Tensor:
        return padded_segment(self, x)

    def _taps(self, joined: Tensor, frames: int) -> Tensor:
        """(batch, frames, kernel * inputs): what each frame's kernel covers, tap by tap."""
        if self.dilation == 1 and self.stride > 1:
            return framed(joined, frames, self.kernel, self.stride).flatten(2)
        reach = (frames - 1) * self.stride + 1
        starts = (tap * self.dilation for tap in range(self.kernel))
        return torch.cat([joined[:, i : i + reach : self.stride] for i in starts], -1)


class DepthwiseConv(StreamingLayer):
    """A convolution of each channel alone: `torch.nn.Conv1d(channels, channels, groups=channels)`.

    Weight (channels, 1, kernel) and bias (channels,) as there; `padding` as in `Conv`.
    """

    def __init__(
        self,
        channels: int,
        kernel: int,
        *,
        dilation: int = 1,
        padding: int | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.kernel, self.dilation = kernel, dilation
        self.context, self.padding = context_of(kernel, 1, dilation, padding)
        self.inputs = self.outputs = (channels,)
        self.weight, self.bias = parameters((channels, 1, kernel), kernel, channels * bias)

    def initial(self, batch: int, onset: int = 0) -> tuple[State, int]:
        out = onset + self.context - self.padding
        masked = out if self.bias is not None or self.padding != self.context else 0
        past = self.zeros(batch, self.context, *self.inputs)
        return {"past": past} | start_countdown(batch, masked, self.device), out

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        frames = x.shape[1]
        y, past = self.convolve(x, state["past"])
        y = silence(y, live_frames(state, frames))
        return y, {"past": past} | next_countdown(state, frames)

    def convolve(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """The unmasked frames, and the past for the next: for layers that mask by themselves."""
        frames = x.shape[1]
        joined = torch.cat([past, x], 1) if self.context else x
        y = joined[:, :frames] * self.weight[:, 0, 0]
        for tap in range(1, self.kernel):
            start = tap * self.dilation
            y = y + joined[:, start : start + frames] * self.weight[:, 0, tap]
        if self.bias is not None:
            y = y + self.bias
        return y, joined[:, frames:]


class ConvTranspose(StreamingLayer):
    """Equals `torch.nn.ConvTranspose1d` of which `trim` samples are cut at the left.

    `over` is the shape of axes between time and channels, each of which is decoded alike: frames
    (batch, frames, *over, inputs) give (batch, frames * stride, *over, outputs). Weight (inputs,
    outputs, kernel) and bias (outputs,) as in `torch.nn.ConvTranspose1d`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int,
        *,
        trim: int = 0,
        over: tuple[int, ...] = (),
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.trim = kernel, stride, trim
        self.ratio = Fraction(stride)
        self.inputs, self.outputs = (*over, inputs), (*over, outputs)
        self.overlap = -(-kernel // stride) - 1
        self.weight, self.bias = parameters(
            (inputs, outputs, kernel), inputs * (self.overlap + 1), outputs * bias
        )

    def initial(self, batch: int, onset: int = 0) -> tuple[State, int]:
        out = onset * self.stride + self.trim
        masked = out if self.bias is not None or self.trim else 0
        tail = self.zeros(batch, self.overlap * self.stride, *self.outputs)
        return {"tail": tail} | start_countdown(batch, masked, self.device), out

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        channels = self.outputs[-1]
        kernel = self.weight.permute(0, 2, 1).flatten(1)
        windows = (x @ kernel).unflatten(-1, (self.kernel, channels)).movedim(-2, 2)
        samples, tail = overlap_add(windows, state["tail"], self.stride)
        if self.bias is not None:
            samples = samples + self.bias
        samples = silence(samples, live_frames(state, samples.shape[1]))
        return samples, {"tail": tail} | next_countdown(state, samples.shape[1])

    def segment(self, x: Tensor) -> Tensor:
        """Cut alike at both ends: `(frames - 1) * stride + kernel - 2 * trim` samples."""
        wanted = (x.shape[1] - 1) * self.stride + self.kernel - 2 * self.trim
        after = x.new_zeros(x.shape[0], self.overlap, *x.shape[2:])
        return self.forward(torch.cat([x, after], 1))[:, :wanted]


def framed(joined: Tensor, frames: int, window: int, hop: int) -> Tensor:
    """(batch, frames, window, channels) windows, `hop` apart.

    The first window starts at the first sample. Cut into whole hops, which are views, and put
    together again: no gather, and the same few operations in every engine.
    """
    batch, length, channels = joined.shape
    parts = -(-window // hop)
    whole = (frames + parts - 1) * hop
    if length < whole:
        joined = torch.cat([joined, joined.new_zeros(batch, whole - length, channels)], 1)
    hops = joined[:, :whole].reshape(batch, -1, hop * channels)
    windows = torch.cat([hops[:, i : i + frames] for i in range(parts)], -1)
    return windows.unflatten(-1, (parts * hop, channels))[:, :, :window]


def overlap_add(windows: Tensor, tail: Tensor, hop: int) -> tuple[Tensor, Tensor]:
    """Sums windows (batch, frames, window, ...) `hop` apart onto the tail of those before.

    Gives the samples that are complete, (batch, frames * hop, ...), and the new tail.
    """
    batch, frames, window, *rest = windows.shape
    parts = -(-window // hop)
    if missing := parts * hop - window:
        windows = torch.cat([windows, windows.new_zeros(batch, frames, missing, *rest)], 2)
    pieces = windows.unflatten(2, (parts, hop))
    summed = pieces[:, :, 0]
    if parts > 1:
        summed = torch.cat([summed, tail.new_zeros(batch, parts - 1, hop, *rest)], 1)
        for part in range(1, parts):
            before = tail.new_zeros(batch, part, hop, *rest)
            after = tail.new_zeros(batch, parts - 1 - part, hop, *rest)
            summed = summed + torch.cat([before, pieces[:, :, part], after], 1)
    samples = summed.flatten(1, 2)
    complete = frames * hop
    if parts > 1:
        carried = tail.shape[1]
        samples = torch.cat([samples[:, :carried] + tail, samples[:, carried:]], 1)
    return samples[:, :complete], samples[:, complete:]


def initial_past(layer: StreamingLayer, batch: int, onset: int) -> tuple[State, int]:
    """The state of a convolution that has heard nothing, and the onset of what it gives."""
    extra, out = onset_of(onset, layer.context - layer.padding, layer.stride)
    past = layer.zeros(batch, layer.context + extra, *layer.inputs)
    biased = layer.bias is not None or layer.norm is not None
    masked = out if biased or layer.padding != layer.context else 0
    return {"past": past} | start_countdown(batch, masked, layer.device), out


def padded_segment(layer: StreamingLayer, x: Tensor) -> Tensor:
    """A segment through a convolution whose public form pads both its ends alike.

    The causal form, which pads the start alone, gives a frame for each stride.
    """
    if layer.causal:
        return layer.forward(x)
    frames = (x.shape[1] + 2 * layer.padding - layer.context) // layer.stride
    missing = max(0, frames * layer.stride - x.shape[1])
    padded = torch.cat([x, x.new_zeros(x.shape[0], missing, *x.shape[2:])], 1)
    return layer.forward(padded)[:, :frames]


def context_of(kernel: int, stride: int, dilation: int, padding: int | None) -> tuple[int, int]:
    """How many samples before a stride's own a window covers, and the padding, checked."""
    span = (kernel - 1) * dilation + 1
    if span < stride:
        raise ValueError(f"a kernel that spans {span} samples skips some at stride {stride}")
    context = span - stride
    if padding is None:
        padding = context
    if not 0 <= padding <= context:
        raise ValueError(f"a left padding of {padding} samples is not within 0 and {context}")
    return context, padding


def onset_of(onset: int, late: int, stride: int) -> tuple[int, int]:
    """By how much to delay the input, so that the output's onset is a whole number; and that."""
    extra = -(onset + late) % stride
    return extra, (onset + late + extra) // stride


def parameters(
    shape: tuple[int, ...], fan_in: int, biases: int
) -> tuple[nn.Parameter, nn.Parameter | None]:
    """Drawn as `torch.nn.Conv1d` draws its own; no bias where `biases` is 0."""
    bound = 1 / math.sqrt(fan_in)
    weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
    bias = nn.Parameter(torch.empty(biases).uniform_(-bound, bound)) if biases else None
    return weight, bias
