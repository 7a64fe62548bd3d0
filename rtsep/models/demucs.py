"""Demucs, causal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import ClassVar

import torch
from torch import nn

from rtsep.errors import WrongCall
from rtsep.layers import LSTM, Conv, ConvTranspose, Levelled, doubled, halved
from rtsep.models.arguments import at_least
from rtsep.models.base import Separator
from rtsep.streaming import Pointwise, Serial, Skip, StreamingLayer

# How often the rate is doubled.
ROUNDS = {1: 0, 2: 1, 4: 2}


class Demucs(Separator):
    """Defossez et al. 2020, "Real Time Speech Enhancement in the Waveform Domain".

    Strided convolutions, each followed by a gated product; an LSTM that runs forward; transposed
    convolutions, each preceded by a gated product; every level added to its mirror image. The paper
    divides by the deviation of the whole signal, which no stream knows: here by the level of late
    (`adaptation`). Nothing else changes. The latency follows from the windows: of each level,
    `synthesis - stride` of its own frames, and what resampling adds.

    Args:
        hidden: channels of each level, outermost first.
        kernel, stride: window and hop of the convolutions: one for all levels, or one each.
        synthesis: window of the transposed convolutions; None is `kernel`, as published. A shorter
            one hears as much and is less late: both windows end at the same sample.
        resample: 1, 2 or 4: how many times the rate the network runs at.
        layers: of the LSTM.
        gated: whether the products are gated (GLU) or rectified.
        adaptation: seconds over which the level is taken; 0 leaves the level as it is.
        floor: added to the level that divides.
        consistency: "none" as published; "equal" shares what the stems miss of the mixture among
            them; "remainder" makes the remainder stem what the others leave, and estimates only
            those.
    """

    arch = "demucs"
    configurations: ClassVar[dict[str, dict]] = {
        "low-latency": {},
        # The authors' causal checkpoints: 16 ms hops, 37 ms late.
        **{
            f"dns{hidden}": dict(
                hidden=[hidden * 2**index for index in range(5)],
                kernel=8,
                stride=4,
                synthesis=None,
                resample=4,
                adaptation=10.0,
                floor=1e-3,
            )
            for hidden in (48, 64)
        },
    }

    def __init__(
        self,
        *,
        rate: int = 16000,
        channels: int = 1,
        stems: tuple[str, ...] = ("voice", "background"),
        primary: str | None = None,
        remainder: str | None = None,
        hidden: Sequence[int] = (192, 256),
        kernel: int | Sequence[int] = (512, 4),
        stride: int | Sequence[int] = (64, 2),
        synthesis: int | Sequence[int] | None = (192, 2),
        resample: int = 1,
        layers: int = 2,
        gated: bool = True,
        adaptation: float = 1.0,
        floor: float = 1e-4,
        consistency: str = "none",
    ) -> None:
        super().__init__(locals())
        if resample not in ROUNDS:
            raise WrongCall(f"resample {resample}: the network runs at 1, 2 or 4 times the rate")
        at_least(1, layers=layers, **{f"hidden {width}": width for width in hidden})
        at_least(0, adaptation=adaptation, floor=floor)
        depth = len(hidden)
        windows = tuple(
            each(name, value, depth)
            for name, value in (
                ("kernel", kernel),
                ("synthesis", kernel if synthesis is None else synthesis),
                ("stride", stride),
            )
        )
        for sizes in zip(*windows, strict=True):
            if not sizes[0] >= sizes[1] >= sizes[2] >= 1:
                raise WrongCall("kernel {}, synthesis {}, stride {}: not falling".format(*sizes))
        estimated = len(self.estimated)

        widths = [channels, *hidden]
        network: StreamingLayer = LSTM(widths[-1], widths[-1], layers)
        for index in reversed(range(depth)):
            given = widths[index] if index else estimated * channels
            network = level(
                network,
                (widths[index], widths[index + 1], given),
                tuple(sizes[index] for sizes in windows),
                gated=gated,
                last=index == 0,
            )
        for _ in range(ROUNDS[resample]):
            network = Serial(doubled(channels), network, halved(estimated * channels))
        shape = (estimated, channels)
        flat = (estimated * channels,)
        network = Serial(network, Pointwise(lambda x: x.unflatten(-1, shape), flat, shape))
        if adaptation:
            span = adaptation * rate / network.hop
            network = Levelled(network, network.hop, span, floor)
        self.finish(network)


def level(
    inner: StreamingLayer,
    widths: tuple[int, int, int],
    windows: tuple[int, int, int],
    *,
    gated: bool = True,
    last: bool = False,
    activation: type[nn.Module] = nn.ReLU,
    norm: Callable[[int], StreamingLayer] | None = None,
    aside: tuple[int, Sequence[StreamingLayer], Sequence[StreamingLayer]] = (0, (), ()),
) -> Serial:
    """Down by one convolution, through `inner` and past it, and up again.

    Args:
        widths: channels in, inside and out.
        windows: kernel down, kernel up, stride.
        gated: whether the products are gated or rectified.
        last: whether nothing follows the convolution up.
        norm: from a width to the norm that follows each product; None for none.
        aside: what the causal form has not: frames to either side that the product on the way up
            sees, and layers before the product on the way down, and after the one on the way up.
    """
    (inputs, inside, outputs), (kernel, synthesis, stride) = widths, windows
    around, on_the_way_down, on_the_way_up = aside
    wide = 2 * inside if gated else inside
    gate = nn.GLU(-1) if gated else nn.ReLU()

    def normed(width: int) -> list[StreamingLayer]:
        return [norm(width)] if norm else []

    return Serial(
        *_fused(
            # Starts where its window ends with that of the transposed convolution.
            Conv(inputs, inside, kernel, stride, padding=kernel - synthesis),
            *normed(inside),
            activation(),
            *on_the_way_down,
            nn.Linear(inside, wide),
            *normed(wide),
            gate,
            Skip(inner, torch.add, (inside,)),
            Conv(inside, wide, 2 * around + 1, padding=around)
            if around
            else nn.Linear(inside, wide),
            *normed(wide),
            gate,
            *on_the_way_up,
            ConvTranspose(inside, outputs, synthesis, stride),
            *([] if last else [*normed(outputs), activation()]),
        )
    )


def _fused(*parts: nn.Module) -> list[StreamingLayer]:
    """Functions of a frame that follow each other become one layer, whose frames are known."""
    layers: list[StreamingLayer] = []
    for streaming, group in groupby(parts, lambda part: isinstance(part, StreamingLayer)):
        if streaming:
            layers += group
        else:
            layers.append(Pointwise(nn.Sequential(*group)))
    return layers


def each(name: str, value: int | Sequence[int], depth: int) -> tuple[int, ...]:
    """One for each of so many levels."""
    values = (value,) * depth if isinstance(value, int) else tuple(value)
    if len(values) != depth or not depth:
        raise WrongCall(f"{name} {values}: one for all levels, or one for each of the {depth}")
    return values
