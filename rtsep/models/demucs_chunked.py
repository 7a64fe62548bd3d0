"""Demucs in blocks: networks that see a whole segment, waveform or hybrid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtsep.errors import Failure, WrongCall
from rtsep.layers import (
    BidirectionalLSTM,
    Conv,
    GroupNorm,
    LocalAttention,
    resampled,
)
from rtsep.models.arguments import at_least, one_of
from rtsep.models.base import Separator
from rtsep.models.demucs import each, level
from rtsep.streaming import Blockwise, Pointwise, Residual, Serial, StreamingLayer
from rtsep.streaming.composition import Identity

_ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}
# Frames of the pieces that a branch's recurrence runs over.
_PIECES = 200
# What a window costs and brings: the network runs `window / hop` times on every sample.
_BLOCKS = {
    "low-latency": dict(window=8192, hop=512, lookahead=512, crossfade=128),
    "balanced": dict(window=16384, hop=2048, lookahead=2048, crossfade=512),
    "quality": dict(window=65536, hop=16384, lookahead=8192, crossfade=2048),
}


class DemucsChunked(Separator):
    """Defossez et al. 2019, "Music Source Separation in the Waveform Domain", and what followed.

    The network of the paper (v2), with the options of the version after it (v3: norms over the
    segment, residual branches with recurrence and attention), which see all of a segment; or,
    with `hybrid`, the hybrid transformer (Rouard et al. 2022) of the public package `demucs`. The
    networks are as published. Live, they run on overlapping windows (`Blockwise`): the latency is
    `lookahead + crossfade`, the cost `window / hop` times that of the network.

    Args:
        blocks: window, hop, lookahead and crossfade in samples.
        hidden, kernel, stride, gated: as in `Demucs`.
        around: frames to either side that the products on the way up see.
        activation: "relu" or "gelu", after the convolutions.
        layers: of a bidirectional LSTM in the middle; 0 for none, as in v3.
        norm_from, groups: the level from which on products are normalised over the segment, in so
            many groups of channels.
        branches: residual branches of each level: 0 none, 1 on the way down, 2 on the way up, 3
            both.
        branch_layers, compression: of a branch, and the factor by which its channels are fewer.
        recurrent_from, attentive_from: the level from which on the branches have an LSTM, and an
            attention.
        normalise: whether the window is brought to mean 0 and deviation 1 and back.
        resample: whether the network runs at twice the rate.
        hybrid: the arguments of `demucs.htdemucs.HTDemucs`; the others but `blocks` then don't
            count. Needs the extra `demucs`.
        consistency: "none" as published; "equal" shares what the stems miss of the mixture among
            them; "remainder" makes the remainder stem what the others leave, and estimates only
            those.
    """

    arch = "demucs-chunked"
    configurations: ClassVar[dict[str, dict]] = {
        **{name: dict(blocks=blocks) for name, blocks in _BLOCKS.items()},
        # The published size, on the segment it was trained on.
        "htdemucs": dict(
            rate=44100,
            channels=2,
            stems=("drums", "bass", "other", "vocals"),
            primary="vocals",
            remainder="other",
            blocks=dict(window=343980, hop=44100, lookahead=22050, crossfade=4410),
            hybrid=dict(segment="39/5", bottom_channels=512, dconv_mode=3),
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
        blocks: dict[str, int] = _BLOCKS["low-latency"],
        hidden: Sequence[int] = (32, 64, 96, 128),
        kernel: int | Sequence[int] = 8,
        stride: int | Sequence[int] = 4,
        gated: bool = True,
        around: int = 1,
        activation: str = "gelu",
        layers: int = 1,
        norm_from: int = 4,
        groups: int = 4,
        branches: int = 0,
        branch_layers: int = 2,
        compression: float = 4,
        recurrent_from: int = 4,
        attentive_from: int = 4,
        normalise: bool = True,
        resample: bool = False,
        hybrid: dict | None = None,
        consistency: str = "none",
    ) -> None:
        super().__init__(locals())
        one_of(activation=(activation, _ACTIVATIONS))
        at_least(0, layers=layers, around=around, norm_from=norm_from)
        at_least(1, groups=groups, branch_layers=branch_layers, compression=compression)
        if branches not in range(4):
            raise WrongCall(f"branches {branches}: 0 none, 1 down, 2 up, 3 both")
        estimated = len(self.estimated)
        if hybrid is None:
            windows = zip(
                *(each(n, self.params[n], len(hidden)) for n in ("kernel", "stride")), strict=True
            )
            levels = self._levels(estimated)
            segment: nn.Module = Waveform(levels, channels, windows, normalise, resample)
        else:
            segment = Hybrid(hybrid, rate, channels, estimated)
        network: StreamingLayer = Blockwise(
            segment, **blocks, inputs=(channels,), outputs=(estimated, channels)
        )
        self.finish(network)

    def _levels(self, estimated: int) -> StreamingLayer:
        """The network proper, (batch, samples, channels) to (batch, samples, stems * channels)."""
        p = self.params
        widths, depth = [self.channels, *p["hidden"]], len(p["hidden"])
        kernels, strides = (each(name, p[name], depth) for name in ("kernel", "stride"))
        network: StreamingLayer = Identity((widths[-1],))
        if p["layers"]:
            network = BidirectionalLSTM(widths[-1], p["layers"])
        for index in reversed(range(depth)):
            outputs = widths[index] if index else estimated * self.channels
            network = level(
                network,
                (widths[index], widths[index + 1], outputs),
                (kernels[index], kernels[index], strides[index]),
                gated=p["gated"],
                last=index == 0,
                activation=_ACTIVATIONS[p["activation"]],
                norm=partial(GroupNorm, p["groups"]) if index >= p["norm_from"] else None,
                aside=(p["around"], self._branches(index, 1), self._branches(index, 2)),
            )
        return network

    def _branches(self, index: int, way: int) -> list[StreamingLayer]:
        """One after the other, with growing dilation; none where this way has none."""
        p = self.params
        if not p["branches"] & way:
            return []
        return [
            branch(
                p["hidden"][index],
                int(p["hidden"][index] / p["compression"]),
                2**number,
                recurrent=index >= p["recurrent_from"],
                attentive=index >= p["attentive_from"],
            )
            for number in range(p["branch_layers"])
        ]


def branch(
    width: int, narrow: int, dilation: int, *, recurrent: bool, attentive: bool
) -> StreamingLayer:
    """To fewer channels, over the neighbours, perhaps over all of the segment, and back; added."""
    beyond: list[StreamingLayer] = []
    if recurrent:
        beyond.append(BidirectionalLSTM(narrow, 2, pieces=_PIECES, residual=True))
    if attentive:
        beyond.append(LocalAttention(narrow))
    return Residual(
        Serial(
            Conv(width, narrow, 3, dilation=dilation, padding=dilation),
            GroupNorm(1, narrow),
            Pointwise(nn.GELU()),
            *beyond,
            Pointwise(nn.Linear(narrow, 2 * width), (narrow,), (2 * width,)),
            GroupNorm(1, 2 * width),
            Pointwise(nn.Sequential(nn.GLU(-1), Scale(width)), (2 * width,), (width,)),
        )
    )


class Scale(nn.Module):
    """A gain per channel, small at first (Touvron et al. 2021)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels,), 1e-4))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class Waveform(nn.Module):
    """A whole window, (batch, samples, channels) to (batch, samples, stems, channels).

    It is filled up with zeros at both ends, so that no convolution finds a part of its window.
    """

    def __init__(
        self,
        levels: StreamingLayer,
        channels: int,
        windows: Sequence[tuple[int, int]],
        normalise: bool,
        resample: bool,
    ) -> None:
        super().__init__()
        self.levels, self.channels, self.normalise = levels, channels, normalise
        self.windows, self.rate = tuple(windows), 1 + resample
        (outputs,) = levels.outputs
        self.doubled = resampled(channels, 1, 2) if resample else Identity()
        self.halved = resampled(outputs, 2, 1) if resample else Identity()

    def forward(self, x: Tensor) -> Tensor:
        samples = x.shape[1]
        if self.normalise:
            mono = x.mean(-1, keepdim=True)
            mean, deviation = mono.mean(1, keepdim=True), mono.std(1, keepdim=True)
            x = (x - mean) / (1e-5 + deviation)
        missing = self._whole(samples) - samples
        x = F.pad(x, (0, 0, missing // 2, missing - missing // 2))
        y = self.halved.segment(self.levels.segment(self.doubled.segment(x)))
        before = (y.shape[1] - samples) // 2
        y = y[:, before : before + samples]
        if self.normalise:
            y = y * deviation + mean
        return y.unflatten(-1, (-1, self.channels))

    def _whole(self, samples: int) -> int:
        """The least number of samples, so many or more, that are whole windows at every level."""
        length = samples * self.rate
        for kernel, stride in self.windows:
            length = max(1, math.ceil((length - kernel) / stride) + 1)
        for kernel, stride in reversed(self.windows):
            length = (length - 1) * stride + kernel
        return math.ceil(length / self.rate)


class Hybrid(nn.Module):
    """The public hybrid transformer, in our layout.

    It knows one length, `segment` seconds, up to which it fills its input with zeros.
    """

    def __init__(self, arguments: dict, rate: int, channels: int, stems: int) -> None:
        super().__init__()
        try:
            from demucs.htdemucs import HTDemucs
        except ImportError:
            raise Failure(
                "the hybrid Demucs is the public package's: pip install 'rtsep[demucs]'"
            ) from None
        # JSON has no fractions: 39/5 stands there as a word.
        segment = Fraction(arguments.get("segment", 10))
        given = arguments | {
            "segment": segment,
            "sources": [str(stem) for stem in range(stems)],
            "audio_channels": channels,
            "samplerate": rate,
        }
        try:
            self.public = HTDemucs(**given)
        except AssertionError as error:
            raise WrongCall(f"the public class refuses these sizes {error}".strip()) from None
        self.samples = int(segment * rate)

    def forward(self, x: Tensor) -> Tensor:
        return self.public(x.transpose(1, 2)).permute(0, 3, 1, 2)
