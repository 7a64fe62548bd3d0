"""Convolutions over time and frequency, (batch, frames, bins, channels).

In time they are what `convolution.py` has for one axis: frames come as a stream, with a context or
a tail as state, and the same rules for onsets. Along the bins everything is there at once. Kernels
and strides are pairs (frames, bins), and weights have torch's axes, time before frequency.
"""

from __future__ import annotations

from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor

from rtsep.layers.batchnorm import BatchNorm, folded, normed
from rtsep.layers.convolution import context_of, initial_past, padded_segment, parameters
from rtsep.streaming.layer import StreamingLayer
from rtsep.streaming.state import (
    State,
    live_frames,
    next_countdown,
    silence,
    start_countdown,
)


class Conv2d(StreamingLayer):
    """Equals `torch.nn.Conv2d` on (batch, channels, frames, bins).

    Args:
        bins: of the input; the output has `(bins + 2 * edge - kernel) // stride + 1`.
        padding: zeros at the left in time, as in `Conv`; None is the causal `kernel - stride`.
        edge: zeros at either end of the bins; None is `(kernel - stride + 1) // 2`, which leaves
            `bins / stride` of them.
        norm: follows the convolution; its frozen statistics are part of the product.

    Weight (outputs, inputs, *kernel) and bias (outputs,) as in `torch.nn.Conv2d`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        *,
        bins: int,
        padding: int | None = None,
        edge: int | None = None,
        bias: bool = True,
        norm: BatchNorm | None = None,
    ) -> None:
        super().__init__()
        self.kernel, (self.stride, self.skip) = tuple(kernel), stride
        self.causal = padding is None
        self.context, self.padding = context_of(kernel[0], stride[0], 1, padding)
        self.edge = (kernel[1] - stride[1] + 1) // 2 if edge is None else edge
        left = (bins + 2 * self.edge - kernel[1]) // stride[1] + 1
        if left < 1 or self.edge < 0:
            raise ValueError(f"{bins} bins are too few for a kernel of {kernel[1]}")
        self.norm = norm
        self.ratio, self.hop = Fraction(1, self.stride), self.stride
        self.inputs, self.outputs = (bins, inputs), (left, outputs)
        fan = inputs * kernel[0] * kernel[1]
        self.weight, self.bias = parameters((outputs, inputs, *kernel), fan, outputs * bias)

    def initial(self, batch: int, onset: int = 0) -> tuple[State, int]:
        return initial_past(self, batch, onset)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        joined = torch.cat([state["past"], x], 1)
        weight, bias = folded(self)
        # Seen by torch as channels first, but in memory channels last: no copy.
        planes = F.conv2d(
            joined.permute(0, 3, 1, 2),
            weight,
            bias,
            stride=(self.stride, self.skip),
            padding=(0, self.edge),
        )
        y = normed(self, planes.permute(0, 2, 3, 1))
        y = silence(y, live_frames(state, y.shape[1]))
        return y, {"past": joined[:, x.shape[1] :]} | next_countdown(state, y.shape[1])

    def segment(self, x: Tensor) -> Tensor:
        return padded_segment(self, x)


class ConvTranspose2d(StreamingLayer):
    """Equals `torch.nn.ConvTranspose2d` on (batch, channels, frames, bins), both axes cut.

    Args:
        bins, restored: of the input and of the output; None is `bins * stride`.
        trim: frames that the public form cuts at the left; 0 is causal.
        edge: bins that are cut at the low end; None is `(kernel - stride + 1) // 2`. What is above
            `restored` is cut at the high end.
        norm: follows the convolution; its frozen statistics are part of the product.

    Weight (inputs, outputs, *kernel) and bias (outputs,) as in `torch.nn.ConvTranspose2d`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        *,
        bins: int,
        restored: int | None = None,
        trim: int = 0,
        edge: int | None = None,
        bias: bool = True,
        norm: BatchNorm | None = None,
    ) -> None:
        super().__init__()
        if kernel[0] < stride[0] or kernel[1] < stride[1]:
            raise ValueError(f"a kernel of {tuple(kernel)} leaves gaps at stride {tuple(stride)}")
        self.kernel, (self.stride, self.skip) = tuple(kernel), stride
        self.trim, self.norm = trim, norm
        self.edge = (kernel[1] - stride[1] + 1) // 2 if edge is None else edge
        restored = bins * self.skip if restored is None else restored
        whole = (bins - 1) * self.skip + kernel[1]
        if not 0 <= self.edge <= whole - restored:
            raise ValueError(
                f"{bins} bins give {whole - self.edge}, where {restored} are wanted: "
                "the bins don't divide, or the kernel is too short"
            )
        self.overlap = kernel[0] - self.stride
        self.ratio = Fraction(self.stride)
        self.inputs, self.outputs = (bins, inputs), (restored, outputs)
        fan = inputs * kernel[0] * kernel[1] // (stride[0] * stride[1])
        self.weight, self.bias = parameters((inputs, outputs, *kernel), fan, outputs * bias)

    def initial(self, batch: int, onset: int = 0) -> tuple[State, int]:
        out = onset * self.stride + self.trim
        masked = out if self.bias is not None or self.norm is not None or self.trim else 0
        tail = self.zeros(batch, self.overlap, *self.outputs)
        return {"tail": tail} | start_countdown(batch, masked, self.device), out

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        weight, bias = folded(self, axis=1)
        planes = F.conv_transpose2d(
            x.permute(0, 3, 1, 2), weight, stride=(self.stride, self.skip)
        ).permute(0, 2, 3, 1)[:, :, self.edge : self.edge + self.outputs[0]]
        frames = x.shape[1] * self.stride
        if self.overlap:
            # The tail reaches over as many frames, of which a short step completes only some.
            tail = state["tail"]
            missing = planes.shape[1] - tail.shape[1]
            if missing:
                tail = torch.cat([tail, tail.new_zeros(tail.shape[0], missing, *self.outputs)], 1)
            planes = planes + tail
        y = planes[:, :frames]
        if bias is not None:
            y = y + bias
        y = silence(normed(self, y), live_frames(state, frames))
        return y, {"tail": planes[:, frames:]} | next_countdown(state, frames)
