"""HS-TasNet, the hybrid of a spectrogram network and TasNet."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from rtsep.layers import (
    LSTM,
    Conv,
    ConvTranspose,
    InverseSpectrogram,
    Spectrogram,
)
from rtsep.layers.features import power, side_by_side
from rtsep.models.arguments import at_least
from rtsep.models.base import Separator
from rtsep.models.openunmix import MUSIC
from rtsep.streaming import Fork, Pointwise, Residual, Serial, State, StreamingLayer
from rtsep.streaming.state import live_frames, next_countdown, silence, start_countdown


class HSTasNet(Separator):
    """Venkatesh et al. 2024, "Real-time Low-latency Music Source Separation using Hybrid
    Spectrogram-TasNet".

    Each frame of the sound becomes a short-time spectrum and an output of a learnt basis. LSTMs
    follow both, alone, joined, and alone again; each branch then masks its own frames, and the sum
    of both decoded is the stem. The paper's network is causal as it is. The published form is late
    by half of its 23 ms window; the low-latency form keeps the long view of both encoders, and
    decodes the end of each window alone: two hops, in which the spectrum's window falls (Mauler and
    Martin 2007) and of which the learnt decoder consists.

    Args:
        window, hop: of the spectrum and of the learnt encoder, in samples.
        synthesis: the part of the window that both decoders fill, in samples, one or two hops; None
            is all of it. The latency is `synthesis - hop`.
        padding: zeros that the public form puts before the first sample, half a window; None is
            `window - hop`.
        shape: of windows that are heard as a whole: "hann", or its "root".
        basis: functions of the learnt encoder and decoder.
        hidden: units of a branch.
        small: the paper's smaller form: one LSTM in each place where the other has two around which
            the sound may pass, and the branches summed where they are joined, not side by side.
        phase: whether the spectrogram branch sees real and imaginary parts and masks each by
            itself; else it sees magnitudes, and the stems keep the phase.
        norm: whether a root mean square norm stands before the masks are made.
        consistency: "none" as published; "equal" shares what the stems miss of the mixture among
            them; "remainder" makes the remainder stem what the others leave, and estimates only
            those.
    """

    arch = "hstasnet"
    configurations: ClassVar[dict[str, dict]] = {
        "low-latency": {},
        "published": dict(
            window=1024, hop=512, synthesis=None, shape="hann", basis=1500, hidden=500, small=False
        ),
        "published-small": dict(
            window=1024, hop=512, synthesis=None, shape="hann", basis=1500, hidden=500
        ),
    }

    def __init__(
        self,
        *,
        rate: int = 44100,
        channels: int = 2,
        stems: tuple[str, ...] = MUSIC,
        primary: str | None = None,
        remainder: str | None = None,
        window: int = 1024,
        hop: int = 128,
        synthesis: int | None = 256,
        padding: int | None = None,
        shape: str = "root",
        basis: int = 512,
        hidden: int = 256,
        small: bool = True,
        phase: bool = True,
        norm: bool = True,
        consistency: str = "none",
    ) -> None:
        super().__init__(locals())
        at_least(1, hop=hop, basis=basis, hidden=hidden)
        masks = len(self.estimated)

        form = dict(channels=channels, synthesis=synthesis, padding=padding, shape=shape)
        analysis = Spectrogram(window, hop, **form)
        encoder = Conv(channels, 2 * basis, window, hop, padding=analysis.padding)
        widths = (analysis.bins * 2 * channels, basis)
        front = Fork(
            [
                Serial(analysis, Pointwise(_flat, analysis.outputs, widths[:1])),
                Serial(encoder, Pointwise(_gated, encoder.outputs, widths[1:])),
            ],
            side_by_side,
            (sum(widths),),
        )
        heart = HybridNetwork(widths, masks, hidden, small, phase, norm)
        synthesiser = InverseSpectrogram(window, hop, over=(masks,), **form)
        decoder = ConvTranspose(
            basis,
            channels,
            synthesiser.synthesis,
            hop,
            trim=synthesiser.trim,
            over=(masks,),
            bias=False,
        )
        _taper(decoder)

        def spectrum(x: Tensor) -> Tensor:
            return x[..., : widths[0]].unflatten(-1, analysis.outputs)

        def functions(x: Tensor) -> Tensor:
            return x[..., widths[0] :]

        back = Fork(
            [
                Serial(Pointwise(spectrum, heart.outputs, synthesiser.inputs), synthesiser),
                Serial(Pointwise(functions, heart.outputs, decoder.inputs), decoder),
            ],
            torch.add,
            (masks, channels),
        )
        network: StreamingLayer = Serial(front, heart, back)
        self.finish(network)


class HybridNetwork(StreamingLayer):
    """Frames of both branches, side by side, to the masked frames of each stem.

    (batch, frames, spectrum + basis) to (batch, frames, masks, spectrum + basis). One countdown
    serves all: the recurrences are held before the onset, and what comes out is silent there.
    """

    def __init__(
        self,
        widths: tuple[int, int],
        masks: int,
        hidden: int,
        small: bool,
        phase: bool,
        norm: bool,
    ) -> None:
        super().__init__()
        self.small, self.phase, self.masks, self.widths = small, phase, masks, widths
        self.inputs, self.outputs = (sum(widths),), (masks, sum(widths))
        spectrum, basis = (widths[0] if phase else widths[0] // 2), widths[1]
        self.spec_entry = nn.Linear(spectrum, hidden)
        self.wave_entry = nn.Linear(basis, hidden)
        joined = hidden if small else 2 * hidden
        widths_inside = (hidden, hidden, joined, hidden, hidden)
        self.recurrences = nn.ModuleDict(
            {name: _recurrence(n, small) for name, n in zip(_PLACES, widths_inside, strict=True)}
        )
        self.spec_exit = _exit(hidden, masks * spectrum, norm)
        self.wave_exit = _exit(hidden, masks * basis, norm)

    def initial(self, batch: int, onset: int = 0) -> tuple[State, int]:
        state = {name: layer.initial(batch, onset)[0] for name, layer in self.recurrences.items()}
        return state | start_countdown(batch, onset, self.device), onset

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        following = {}

        def recur(name: str, y: Tensor) -> Tensor:
            y, following[name] = self.recurrences[name].step(y, state[name])
            return y

        spectrum, basis = x.split(self.widths, -1)
        seen = spectrum if self.phase else power(spectrum).sqrt()
        spec_start, wave_start = self.spec_entry(seen), self.wave_entry(basis)
        spec, wave = recur("pre_spec", spec_start), recur("pre_wave", wave_start)
        if self.small:
            spec = wave = recur("fusion", spec + wave)
        else:
            spec, wave = recur("fusion", side_by_side(spec, wave)).chunk(2, -1)
        spec = recur("post_spec", spec + spec_start)
        wave = recur("post_wave", wave + wave_start)

        spec_masks = self.spec_exit(spec).unflatten(-1, (self.masks, -1))
        if not self.phase:
            spec_masks = spec_masks.repeat_interleave(2, -1)
        wave_masks = self.wave_exit(wave).unflatten(-1, (self.masks, -1))
        masked = side_by_side(spec_masks, wave_masks) * x[:, :, None]
        frames = x.shape[1]
        return silence(masked, live_frames(state, frames)), following | next_countdown(
            state, frames
        )


# In the order of the sound's way: a branch alone, both together, each alone again.
_PLACES = ("pre_spec", "pre_wave", "fusion", "post_spec", "post_wave")
# That of the public form in float32, which names none.
_EPS = torch.finfo(torch.float32).eps


def _recurrence(width: int, small: bool) -> StreamingLayer:
    return LSTM(width, width) if small else Residual(LSTM(width, width, 2))


def _exit(hidden: int, outputs: int, norm: bool) -> nn.Sequential:
    before = nn.RMSNorm(hidden, eps=_EPS) if norm else nn.Identity()
    return nn.Sequential(before, nn.Linear(hidden, outputs))


def _flat(spectrum: Tensor) -> Tensor:
    return spectrum.flatten(2)


def _gated(x: Tensor) -> Tensor:
    """The learnt basis: never negative, each function with a gate."""
    value, gate = x.chunk(2, -1)
    return torch.relu(value) * torch.sigmoid(gate)


@torch.no_grad()
def _taper(decoder: ConvTranspose) -> None:
    """Learnt windows rise from nothing and fall to it, as the public form's always do."""
    decoder.weight *= torch.hann_window(decoder.kernel, dtype=decoder.weight.dtype)
