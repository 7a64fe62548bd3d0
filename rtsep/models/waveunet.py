"""Wave-U-Net, causal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtsep.errors import WrongCall
from rtsep.layers import (
    BatchNorm,
    Conv,
    Decimate,
    GroupNorm,
    Interpolate,
    Lowpass,
    ZeroStuff,
)
from rtsep.models.arguments import at_least, one_of
from rtsep.models.base import Separator
from rtsep.streaming import Blockwise, Pointwise, Segment, Serial, Skip, StreamingLayer

FORMS = ("causal", "centred", "valid")
NORMS = ("none", "batch", "group")
GROUP = 8


class WaveUNet(Separator):
    """Stoller, Ewert and Dixon 2018, "Wave-U-Net: A Multi-Scale Neural Network for … Separation".

    Convolutions of the waveform, each followed by decimation, and back by interpolation and
    convolutions that also see what was there before the decimation; the last stem may be what the
    others leave of the mixture (the paper's difference output: `consistency` "remainder"). The
    causal form pads the past's side alone and keeps of every `stride` frames the latest, so that a
    line from one kept frame to the next ends where the newest one is: it is not late at all, but
    steps by `stride ** levels` samples. The paper's centred convolutions stream as well, late by
    what they look ahead; the valid ones of its authors' code run in blocks.

    Args:
        widths: channels of each level's convolution, the last of which is the narrowest part.
        down_kernel, up_kernel: odd.
        stride: of the decimation.
        doubled: whether a second convolution stands before each decimation and after each
            interpolation, as in the authors' later code.
        direct: whether the last convolution sees the mixture as well, as in the paper.
        norm: "none" as in the paper, "batch", or "group" (by eights; it sees a whole segment).
        slope: of the activations below 0.
        taps: of a low-pass filter around decimation and in place of the line; 0 for none. What it
            looks ahead is latency.
        output: "tanh" as in the paper, "clip" (to full scale, not while training) or "linear".
        form: "causal", "centred", or "valid", in blocks alone.
        blocks: for the valid form, as `Blockwise` takes it: window, hop, lookahead and crossfade in
            samples. `segment_sizes` tells the windows that there are.
        consistency: "none"; "equal" shares what the stems miss of the mixture among them;
            "remainder" makes the remainder stem what the others leave, and estimates only those.
    """

    arch = "waveunet"
    configurations: ClassVar[dict[str, dict]] = {
        "low-latency": {},
        "published": dict(
            rate=22050,
            stems=("vocals", "accompaniment"),
            widths=tuple(24 * (i + 1) for i in range(13)),
            consistency="remainder",
        ),
    }

    def __init__(
        self,
        *,
        rate: int = 16000,
        channels: int = 1,
        stems: tuple[str, ...] = ("voice", "background"),
        primary: str | None = None,
        remainder: str | None = None,
        widths: tuple[int, ...] = (24, 48, 72, 96, 120, 144, 168, 192),
        down_kernel: int = 15,
        up_kernel: int = 5,
        stride: int = 2,
        doubled: bool = False,
        direct: bool = True,
        norm: str = "none",
        slope: float = 0.2,
        taps: int = 0,
        output: str = "tanh",
        form: str = "causal",
        blocks: dict[str, int] | None = None,
        consistency: str = "none",
    ) -> None:
        super().__init__(locals())
        one_of(
            norm=(norm, NORMS),
            output=(output, OUTPUTS),
            form=(form, FORMS),
        )
        at_least(2, widths=len(widths), stride=stride)
        at_least(1, **{f"widths[{i}]": width for i, width in enumerate(widths)})
        if not down_kernel % 2 or not up_kernel % 2:
            raise WrongCall(f"kernels {down_kernel} and {up_kernel}: they are odd")
        if norm == "group" and form != "valid":
            raise WrongCall("a group norm sees a whole segment: it takes the form 'valid'")
        if norm == "group" and any(width % GROUP for width in widths):
            raise WrongCall(f"a group norm takes widths that are multiples of {GROUP}")
        estimated = len(self.estimated)

        body: StreamingLayer = self._level(0, channels)
        seen = widths[0]
        if direct:
            seen += channels
            body = Skip(body, _side_by_side, (seen,))
        last = nn.Sequential(nn.Unflatten(-1, (estimated, channels)), OUTPUTS[output]())
        network: StreamingLayer = Serial(
            body,
            Conv(seen, estimated * channels, 1),
            Pointwise(last, (estimated * channels,), (estimated, channels)),
        )
        if form == "valid" or blocks is not None:
            network = self._in_blocks(network, blocks)
        self.finish(network)

    def _level(self, index: int, inputs: int) -> Serial:
        """A level's convolution, the levels below it, and the convolution that joins both."""
        p = self.params
        widths, down, up = p["widths"], p["down_kernel"], p["up_kernel"]
        width, below = widths[index], widths[index + 1]
        narrowed = width
        inner: list[StreamingLayer] = []
        if p["doubled"]:
            narrowed = below
            inner.append(self._convolution(width, below, down))
        inner += self._decimation(narrowed)
        if index + 2 < len(widths):
            inner.append(self._level(index + 1, narrowed))
        else:
            inner.append(self._convolution(narrowed, below, down))
        inner += self._interpolation(below)
        if p["doubled"]:
            inner.append(self._convolution(below, width, up))
        widened = width if p["doubled"] else below
        return Serial(
            self._convolution(inputs, width, down),
            Skip(Serial(*inner), _shortcut_first, (width + widened,)),
            self._convolution(width + widened, width, up),
        )

    def _convolution(self, inputs: int, outputs: int, kernel: int) -> Serial:
        p = self.params
        padding = {"causal": None, "centred": kernel // 2, "valid": 0}[p["form"]]
        norm = BatchNorm(outputs, momentum=0.01) if p["norm"] == "batch" else None
        layers: list[StreamingLayer] = [Conv(inputs, outputs, kernel, padding=padding, norm=norm)]
        if p["norm"] == "group":
            layers.append(GroupNorm(outputs // GROUP, outputs))
        slope = p["slope"]
        return Serial(*layers, Pointwise(lambda x: F.leaky_relu(x, slope), (outputs,)))

    def _decimation(self, channels: int) -> Iterator[StreamingLayer]:
        if taps := self.params["taps"]:
            yield _sinc(channels, taps, self.params["stride"])
        yield Decimate(channels, self.params["stride"], self._phase)

    def _interpolation(self, channels: int) -> Iterator[StreamingLayer]:
        stride = self.params["stride"]
        if taps := self.params["taps"]:
            yield ZeroStuff(channels, stride)
            yield _sinc(channels, taps, stride, gain=stride)
        else:
            yield Interpolate(channels, stride, self._phase)

    @property
    def _phase(self) -> int:
        """Which of every `stride` frames is kept."""
        latest = self.params["form"] == "causal" and not self.params["taps"]
        return self.params["stride"] - 1 if latest else 0

    def _in_blocks(self, network: StreamingLayer, blocks: dict[str, int] | None) -> Blockwise:
        if self.params["form"] != "valid" or blocks is None:
            raise WrongCall("the form 'valid' runs in blocks, and no other does")
        runs = Blockwise(Segment(network), **blocks)
        window, given = segment_sizes(self.params, window=runs.window)
        if window != runs.window:
            raise WrongCall(f"a window of {runs.window} samples: the next possible one is {window}")
        lost = (window - given) // 2
        room = window - runs.hop - runs.crossfade
        if not lost <= runs.lookahead <= room - lost:
            raise WrongCall(
                f"lookahead {runs.lookahead}: {lost} samples are lost at either end of "
                f"{window}, so it is within {lost} and {room - lost}"
            )
        return runs


def segment_sizes(params: dict, *, window: int = 0, output: int = 0) -> tuple[int, int]:
    """The shortest segment of a valid form, of at least so many samples in and out; and what it
    gives, which is less by as many at either end.

    `params` are those of a `WaveUNet`: widths, kernels, stride, `doubled` and `taps`.
    """
    stride, levels = params["stride"], len(params["widths"]) - 1
    down, up = params["down_kernel"] - 1, params["up_kernel"] - 1
    doubled, half = 1 + params["doubled"], params["taps"] // 2

    # Of `n` frames at the narrowest, a level has `n * scale` and these beyond.
    scale, taken, given = 1, down, 0
    narrowest = half + 1
    for _ in range(levels):
        scale *= stride
        taken = (taken - 1) * stride + 1 + doubled * down
        given = (given - 1) * stride + 1 - doubled * up
        # A level that is filtered next, its ends reflected, is longer than what is reflected.
        narrowest = max(narrowest, -(-(half + 1 - given) // scale))
    narrowest = max(narrowest, -(-(window - taken) // scale), -(-(output - given) // scale))
    return narrowest * scale + taken, narrowest * scale + given


class Clip(nn.Module):
    """To full scale, where nothing is learnt."""

    def forward(self, x: Tensor) -> Tensor:
        return x if self.training else x.clamp(-1, 1)


OUTPUTS = {"tanh": nn.Tanh, "clip": Clip, "linear": nn.Identity}


def _sinc(channels: int, taps: int, stride: int, gain: float = 1.0) -> Lowpass:
    """A low-pass filter at the lower rate's band limit, a sinc under a Hann window; not learnt."""
    layer = Lowpass(channels, taps)
    layer.weight.requires_grad_(False)
    times = torch.arange(taps, dtype=torch.float64) - taps // 2
    window = torch.hann_window(taps + 2, periodic=False, dtype=torch.float64)[1:-1]
    shape = torch.sinc(times / stride) * window
    layer.weight.copy_((gain * shape / shape.sum()).expand_as(layer.weight))
    return layer


def _side_by_side(inner: Tensor, skipped: Tensor) -> Tensor:
    return torch.cat([inner, skipped], -1)


def _shortcut_first(inner: Tensor, shortcut: Tensor) -> Tensor:
    return torch.cat([shortcut, inner], -1)
