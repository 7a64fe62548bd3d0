"""Conv-TasNet, causal."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtsep.errors import WrongCall
from rtsep.layers import (
    Conv,
    ConvTranspose,
    CumulativeLayerNorm,
    DepthwiseConv,
    FrameLayerNorm,
    InverseSpectrogram,
    Spectrogram,
)
from rtsep.layers.features import compressed, features
from rtsep.layers.normalisation import LayerNorm
from rtsep.models.arguments import at_least, one_of
from rtsep.models.base import Separator
from rtsep.models.spectral import apply_masks
from rtsep.streaming import Pointwise, Serial, Skip, State, StreamingLayer
from rtsep.streaming.state import live_frames, next_countdown, silence, start_countdown

NORMS = {"frame": FrameLayerNorm, "cumulative": CumulativeLayerNorm}
ACTIVATIONS = {
    "linear": nn.Identity(),
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": F.gelu,
    "swish": F.silu,
}
MASKS = {**ACTIVATIONS, "softmax": lambda scores: scores.softmax(-2)}
# What only one of the bases has, and its value where the other is meant.
_ALONE = {
    "learned": {"filters": None, "padding": None, "activation": "linear"},
    "fourier": {"synthesis": None, "adaptation": 0.0},
}
# The paper's best sizes (table II), in samples at 16 kHz: what benchmarks since then take.
_PUBLISHED = dict(
    filters=512, kernel=32, bottleneck=128, hidden=512, skip=128, taps=3, blocks=8, repeats=3
)


class ConvTasNet(Separator):
    """Luo and Mesgarani 2019, "Conv-TasNet: Surpassing Ideal Time-Frequency Magnitude Masking".

    The causal form of the paper (section III): depthwise convolutions padded on the left alone and
    norms that need no future. Nothing else changes. Latency is one encoder window less one hop,
    whichever way the public form pads; up to a hop more where the padding does not leave a whole
    number of hops of the window.

    The basis may be a short-time transform in place of the learnt one, as in asteroid and in
    Kavalerov et al. 2019 ("Universal sound separation"): with the asymmetric pair of windows of
    `SpectralSeparator` a long one, which tells frequencies apart, costs no more latency than a
    short one, `synthesis - stride`.

    Args:
        basis: "learned", as published, or "fourier": windows of `kernel` samples are transformed,
            the magnitudes of their bins are seen and masked, and stems keep the mixture's phase.
        kernel, stride: of encoder and decoder; stride None is half the kernel.
        filters: for "learned" alone: how many there are; None is 512.
        synthesis: for "fourier" alone: the part of a window that is heard; None is all of it.
        padding: for "learned" alone: zeros that the public form puts before the first sample
            (asteroid and cadenza 0, naplab one stride); the decoder trims as many. None is `kernel
            - stride`.
        bottleneck, hidden, skip: channels of a block; skip 0 has no skip paths, the masks are then
            read from the residual stream.
        taps, blocks, repeats: kernel of the depthwise convolutions, dilations 1, 2, 4, … per
            repeat, and repeats.
        norm: "frame" (each frame over its channels) or "cumulative" (over all frames so far).
        mask: "sigmoid", "relu", "softmax" (over the stems), or another of `ACTIVATIONS`.
        activation: for "learned" alone: "linear", "relu", or another of `ACTIVATIONS`, on the
            encoder's output.
        bias: whether the products and depthwise convolutions have one.
        head: whether a PReLU stands before the masks are made.
        adaptation: for "fourier" alone: seconds over which a moving mean of each bin's loudness is
            taken: how much louder than of late it is, is then seen as well; 0 leaves that out.
        consistency: "none" as published; "equal" shares what the stems miss of the mixture among
            them; "remainder" makes the remainder stem what the others leave, and estimates only
            those.
    """

    arch = "convtasnet"
    configurations: ClassVar[dict[str, dict]] = {
        # What the shipped voice model is: 32 ms seen and 8 ms heard, few and narrow blocks.
        "low-latency": dict(
            basis="fourier",
            kernel=512,
            stride=64,
            synthesis=128,
            bottleneck=192,
            hidden=256,
            skip=0,
            taps=3,
            blocks=6,
            repeats=3,
            adaptation=1.0,
            consistency="remainder",
        ),
        "published-16k": _PUBLISHED,
        # As published: windows of 2 ms at 8 kHz, two talkers, norms over all frames so far.
        "paper": _PUBLISHED
        | dict(kernel=16, rate=8000, stems=("first", "second"), norm="cumulative"),
        # The Cadenza challenge's baseline for music: see the importer of that name.
        "cadenza": dict(
            rate=44100,
            channels=2,
            stems=("vocals", "accompaniment"),
            filters=256,
            kernel=20,
            padding=0,
            bottleneck=256,
            hidden=512,
            skip=0,
            taps=3,
            blocks=10,
            repeats=4,
            mask="relu",
            activation="relu",
            bias=False,
            head=False,
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
        basis: str = "learned",
        filters: int | None = None,
        kernel: int = 32,
        stride: int | None = None,
        synthesis: int | None = None,
        padding: int | None = None,
        bottleneck: int = 128,
        hidden: int = 512,
        skip: int = 128,
        taps: int = 3,
        blocks: int = 8,
        repeats: int = 3,
        norm: str = "frame",
        mask: str = "sigmoid",
        activation: str = "linear",
        bias: bool = True,
        head: bool = True,
        adaptation: float = 0.0,
        consistency: str = "none",
        eps: float = 1e-8,
    ) -> None:
        stride = kernel // 2 if stride is None else stride
        if basis == "learned":
            filters = 512 if filters is None else filters
            padding = kernel - stride if padding is None else padding
        super().__init__(locals())
        one_of(basis=(basis, _ALONE))
        one_of(norm=(norm, NORMS), mask=(mask, MASKS), activation=(activation, ACTIVATIONS))
        at_least(
            1,
            stride=stride,
            bottleneck=bottleneck,
            hidden=hidden,
            taps=taps,
            blocks=blocks,
            repeats=repeats,
        )
        at_least(0, adaptation=adaptation)
        for other in _ALONE.keys() - {basis}:
            for name, absent in _ALONE[other].items():
                if self.params[name] != absent:
                    raise WrongCall(f"{name} {self.params[name]}: for the basis {other!r} alone")
        if stride > kernel:
            raise WrongCall(f"stride {stride} skips samples: the kernel has {kernel}")
        separation = functools.partial(
            MaskNetwork,
            masks=len(self.estimated),
            bottleneck=bottleneck,
            hidden=hidden,
            skip=skip,
            taps=taps,
            dilations=[2**i for i in range(blocks)] * repeats,
            norm=norm,
            mask=mask,
            bias=bias,
            head=head,
            eps=eps,
        )
        self.finish((_fourier if basis == "fourier" else _learned)(self, separation))


class MaskNetwork(StreamingLayer):
    """Encoder frames (batch, frames, seen) to masks (batch, frames, masks, filters).

    The paper's separation module. Of what is seen, the first `filters` channels are normalised;
    the others are taken as they come. One countdown serves all blocks: all run at one rate and
    none is late. Only what has a memory needs the mask, and the output.
    """

    def __init__(
        self,
        *,
        filters: int,
        seen: int,
        masks: int,
        bottleneck: int,
        hidden: int,
        skip: int,
        taps: int,
        dilations: list[int],
        norm: str,
        mask: str,
        bias: bool,
        head: bool,
        eps: float,
    ) -> None:
        super().__init__()
        self.filters, self.masks, self.mask = filters, masks, mask
        self.inputs, self.outputs = (seen,), (masks, filters)
        self.norm = NORMS[norm](filters, eps)
        self.entry = nn.Linear(seen, bottleneck, bias=bias)
        self.blocks = nn.ModuleList(
            Block(bottleneck, hidden, skip, taps, dilation, norm, bias, eps)
            for dilation in dilations
        )
        self.head = nn.PReLU() if head else nn.Identity()
        self.exit = nn.Linear(skip or bottleneck, masks * filters, bias=bias)

    def initial(self, batch: int, onset: int = 0) -> tuple[State, int]:
        state = {
            "norm": self.norm.memory(batch),
            "blocks": [block.memory(batch) for block in self.blocks],
        }
        return state | start_countdown(batch, onset, self.device), onset

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        frames = x.shape[1]
        live = live_frames(state, frames)
        encoded, norm = self.norm.normalise(x[..., : self.filters], state["norm"], live)
        if x.shape[-1] > self.filters:
            encoded = torch.cat([encoded, x[..., self.filters :]], -1)
        stream = self.entry(encoded)
        skips, blocks = None, []
        for block, memory in zip(self.blocks, state["blocks"], strict=True):
            stream, skip, memory = block.advance(stream, memory, live)
            blocks.append(memory)
            if skip is not None:
                skips = skip if skips is None else skips + skip
        scores = self.exit(self.head(stream if skips is None else skips))
        masks = MASKS[self.mask](scores.unflatten(-1, (self.masks, self.filters)))
        following = {"norm": norm, "blocks": blocks} | next_countdown(state, frames)
        return silence(masks, live), following


class Block(nn.Module):
    """One dilated block (figure 1C of the paper). The network that holds it does the masking."""

    def __init__(
        self,
        bottleneck: int,
        hidden: int,
        skip: int,
        taps: int,
        dilation: int,
        norm: str,
        bias: bool,
        eps: float,
    ) -> None:
        super().__init__()
        self.entry = nn.Linear(bottleneck, hidden, bias=bias)
        self.act1, self.norm1 = nn.PReLU(), NORMS[norm](hidden, eps)
        self.depthwise = DepthwiseConv(hidden, taps, dilation=dilation, bias=bias)
        self.act2, self.norm2 = nn.PReLU(), NORMS[norm](hidden, eps)
        self.residual = nn.Linear(hidden, bottleneck, bias=bias)
        self.skip = nn.Linear(hidden, skip, bias=bias) if skip else None

    def memory(self, batch: int) -> dict:
        past, _ = self.depthwise.initial(batch)
        return {"norm1": self.norm1.memory(batch), "norm2": self.norm2.memory(batch), **past}

    def advance(
        self, x: Tensor, memory: dict, live: Tensor | None
    ) -> tuple[Tensor, Tensor | None, dict]:
        """The residual stream, what goes to the skip sum (None without skip paths), the memory."""
        y, norm1 = _normalised(self.norm1, self.act1(self.entry(x)), memory["norm1"], live)
        # A bias before the onset would enter the taps' past: the public form has zeros there.
        y, past = self.depthwise.convolve(silence(y, live), memory["past"])
        y, norm2 = _normalised(self.norm2, self.act2(y), memory["norm2"], live)
        skip = None if self.skip is None else self.skip(y)
        return x + self.residual(y), skip, {"norm1": norm1, "norm2": norm2, "past": past}


def _learned(model: ConvTasNet, separation: Callable[..., MaskNetwork]) -> Serial:
    """Convolutions either side of the masks."""
    p, over = model.params, (len(model.estimated),)
    filters, kernel, stride, padding = (p[k] for k in ("filters", "kernel", "stride", "padding"))
    at_least(1, filters=filters)
    if not 0 <= padding <= kernel - stride:
        raise WrongCall(f"padding {padding} is not within 0 and {kernel - stride}")
    encoder: StreamingLayer = Conv(
        model.channels, filters, kernel, stride, padding=padding, bias=False
    )
    if p["activation"] != "linear":
        encoder = Serial(encoder, Pointwise(ACTIVATIONS[p["activation"]]))
    masks = separation(filters=filters, seen=filters)
    decoder = ConvTranspose(
        filters, model.channels, kernel, stride, trim=padding, over=over, bias=False
    )
    return Serial(encoder, Skip(masks, _mask_filters, masks.outputs), decoder)


def _fourier(model: ConvTasNet, separation: Callable[..., MaskNetwork]) -> Serial:
    """A short-time transform either side of the masks."""
    p, over = model.params, (len(model.estimated),)
    windows = {"window": p["kernel"], "hop": p["stride"], "synthesis": p["synthesis"]}
    encoder = Spectrogram(**windows, channels=model.channels)
    decoder = InverseSpectrogram(**windows, channels=model.channels, over=over)
    span = p["adaptation"] * model.rate / p["stride"]
    seen = features(encoder.outputs, compressed(0.3), None, span)
    filters = encoder.bins * model.channels
    masks = Serial(*seen, separation(filters=filters, seen=seen[-1].outputs[0]))
    return Serial(encoder, Skip(masks, _mask_bins, (*over, *encoder.outputs)), decoder)


def _mask_filters(masks: Tensor, encoded: Tensor) -> Tensor:
    return masks * encoded[..., None, :]


def _mask_bins(masks: Tensor, spectrum: Tensor) -> Tensor:
    return apply_masks(masks.unflatten(-1, (spectrum.shape[-2], -1)), spectrum)


def _normalised(norm: LayerNorm, x: Tensor, memory: dict, live: Tensor | None):
    return norm.normalise(x, memory, live)
