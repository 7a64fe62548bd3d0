"""Conv-TasNet, causal."""

from __future__ import annotations

import functools
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
    Spectrogram,
)
from rtsep.layers.features import compressed, features, side_by_side
from rtsep.layers.normalisation import LayerNorm
from rtsep.models.arguments import at_least, one_of
from rtsep.models.base import Separator
from rtsep.streaming import Fork, Pointwise, Serial, Skip, State, StreamingLayer
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

    Args:
        filters, kernel, stride: encoder and decoder basis; stride None is half the kernel.
        padding: zeros that the public form puts before the first sample (asteroid and cadenza 0,
            naplab one stride); the decoder trims as many. None is `kernel - stride`.
        bottleneck, hidden, skip: channels of a block; skip 0 has no skip paths, the masks are then
            read from the residual stream.
        taps, blocks, repeats: kernel of the depthwise convolutions, dilations 1, 2, 4, … per
            repeat, and repeats.
        norm: "frame" (each frame over its channels) or "cumulative" (over all frames so far).
        mask: "sigmoid", "relu", "softmax" (over the stems), or another of `ACTIVATIONS`.
        activation: "linear", "relu", or another of `ACTIVATIONS`, on the encoder's output.
        bias: whether the products and depthwise convolutions have one.
        head: whether a PReLU stands before the masks are made.
        context: length in samples of a short-time spectrum of the past that the mask network sees
            beside the encoder's frames; 0 for none, as published. It adds no latency.
        adaptation: seconds over which that spectrum's moving mean is taken, to be seen as well: how
            much louder than of late each frequency is; 0 for none.
        consistency: "none" as published; "equal" shares what the stems miss of the mixture among
            them; "remainder" makes the remainder stem what the others leave, and estimates only
            those.
    """

    arch = "convtasnet"
    configurations: ClassVar[dict[str, dict]] = {
        # What the shipped voice model is: an 8 ms window, few and narrow blocks, a wide context.
        "low-latency": dict(
            filters=256,
            kernel=128,
            stride=64,
            bottleneck=192,
            hidden=256,
            skip=0,
            taps=3,
            blocks=6,
            repeats=2,
            context=512,
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
        filters: int = 512,
        kernel: int = 32,
        stride: int | None = None,
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
        context: int = 0,
        adaptation: float = 0.0,
        consistency: str = "none",
        eps: float = 1e-8,
    ) -> None:
        stride = kernel // 2 if stride is None else stride
        padding = kernel - stride if padding is None else padding
        params = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        params["stems"] = list(stems)
        super().__init__(
            rate=rate,
            channels=channels,
            stems=stems,
            primary=primary,
            remainder=remainder,
            consistency=consistency,
            params=params,
        )
        one_of(norm=(norm, NORMS), mask=(mask, MASKS), activation=(activation, ACTIVATIONS))
        at_least(
            1,
            filters=filters,
            stride=stride,
            bottleneck=bottleneck,
            hidden=hidden,
            taps=taps,
            blocks=blocks,
            repeats=repeats,
        )
        if stride > kernel:
            raise WrongCall(f"stride {stride} skips samples: the kernel has {kernel}")
        if not 0 <= padding <= kernel - stride:
            raise WrongCall(f"padding {padding} is not within 0 and {kernel - stride}")
        if context and context < kernel:
            raise WrongCall(f"context {context} is shorter than the kernel of {kernel} samples")
        if adaptation < 0 or (adaptation and not context):
            raise WrongCall(f"adaptation {adaptation:g}: at least 0, and it takes a context")
        estimated = len(self.estimated)

        encoder: StreamingLayer = Conv(
            channels, filters, kernel, stride, padding=padding, bias=False
        )
        if activation != "linear":
            encoder = Serial(encoder, Pointwise(ACTIVATIONS[activation]))
        front, seen = encoder, filters
        if context:
            spectrum = _context(context, stride, channels, adaptation * rate / stride, eps)
            seen += spectrum.outputs[0]
            front = Fork([encoder, spectrum], side_by_side, (seen,))
        masks = MaskNetwork(
            filters=filters,
            seen=seen,
            masks=estimated,
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
        decoder = ConvTranspose(
            filters, channels, kernel, stride, trim=padding, over=(estimated,), bias=False
        )
        network: StreamingLayer = Serial(front, Skip(masks, _apply_masks, masks.outputs), decoder)
        self.finish(network)


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


def _context(window: int, hop: int, channels: int, span: float, eps: float) -> Serial:
    """Samples to what is seen of their spectrum: its shape, free of level, and what changes in it.

    `span`, in frames, is that of the moving mean; 0 leaves what changes out.
    """
    spectrum = Spectrogram(window, hop, channels=channels)
    norm = functools.partial(FrameLayerNorm, eps=eps)
    return Serial(spectrum, *features(spectrum.outputs, compressed(0.3), norm, span))


def _apply_masks(masks: Tensor, seen: Tensor) -> Tensor:
    return masks * seen[..., None, : masks.shape[-1]]


def _normalised(norm: LayerNorm, x: Tensor, memory: dict, live: Tensor | None):
    return norm.normalise(x, memory, live)
