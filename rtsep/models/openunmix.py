"""Open-Unmix, forward in time."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from rtsep.errors import WrongCall
from rtsep.layers import (
    InverseSpectrogram,
    ParallelLinear,
    ParallelLSTM,
    Spectrogram,
)
from rtsep.layers.features import power
from rtsep.models.arguments import at_least
from rtsep.models.base import Separator
from rtsep.models.spectral import apply_masks
from rtsep.streaming import Serial, Skip, State, StreamingLayer
from rtsep.streaming.state import live_frames, next_countdown, silence, start_countdown

MUSIC = ("vocals", "drums", "bass", "other")


class OpenUnmix(Separator):
    """Stöter, Uhlich, Liutkus and Mitsufuji 2019, "Open-Unmix: A Reference Implementation".

    One network per stem ("target") makes of the mixture's magnitudes a mask that is not negative;
    the phase is the mixture's. All networks run as one batched computation. The causal form is the
    authors' own option `unidirectional`: LSTMs that run forward alone, with as many units as the
    two directions had together. The Wiener filter that may follow sees the whole signal, and is
    left out. The authors' transform makes the sound three quarters of 93 ms late; the low-latency
    form looks back through windows half as long, whose end falls within two short hops (Mauler and
    Martin 2007).

    Args:
        window, hop: of the spectrum, in samples.
        synthesis: the part of the window that is heard, in samples, one or two hops; None is all of
            it. The latency is `synthesis - hop`.
        padding: what the public form puts before the first sample: half a window, where its frames
            are centred; None is `window - hop`.
        reflect: whether that is the signal's reflection; else it is silence.
        shape: of windows that are heard as a whole: "hann", or its "root".
        hidden: units of the products and of the LSTMs.
        layers: LSTMs one after the other.
        max_bin: how many bins the networks see, from the lowest; None is those up to 16 kHz. Masks
            are made for all.
        softmask: whether the masks are each stem's share of all magnitudes instead.
        consistency: "none" as published; "equal" shares what the stems miss of the mixture among
            them; "remainder" makes the remainder stem what the others leave (the public option
            `residual`), and has a network for only those.
    """

    arch = "openunmix"
    configurations: ClassVar[dict[str, dict]] = {
        "low-latency": {},
        "published": dict(
            window=4096,
            hop=1024,
            synthesis=None,
            padding=2048,
            reflect=True,
            shape="hann",
            hidden=512,
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
        window: int = 2048,
        hop: int = 256,
        synthesis: int | None = 512,
        padding: int | None = None,
        reflect: bool = False,
        shape: str = "root",
        hidden: int = 256,
        layers: int = 3,
        max_bin: int | None = None,
        softmask: bool = False,
        consistency: str = "none",
    ) -> None:
        super().__init__(locals())
        at_least(1, hop=hop, hidden=hidden, layers=layers)
        targets = len(self.estimated)
        bins = window // 2 + 1
        if max_bin is None:
            max_bin = min(bins, 16000 * window // rate + 1)
        if not 1 <= max_bin <= bins:
            raise WrongCall(f"max_bin {max_bin}: the spectrum has {bins} bins")

        form = dict(channels=channels, synthesis=synthesis, padding=padding, shape=shape)
        networks = TargetNetworks(targets, bins, channels, max_bin, hidden, layers, softmask)
        network: StreamingLayer = Serial(
            Spectrogram(window, hop, reflect=reflect, **form),
            Skip(networks, apply_masks, (targets, bins, 2 * channels)),
            InverseSpectrogram(window, hop, over=(targets,), **form),
        )
        self.finish(network)


class TargetNetworks(StreamingLayer):
    """Spectra (batch, frames, bins, 2 * channels) to masks (…, frames, targets, bins, channels).

    Each target has a mean and a scale of its own for every bin that it sees, and for every bin of
    its mask. The batch norms are those of the products, whose weights they enter.
    """

    def __init__(
        self,
        targets: int,
        bins: int,
        channels: int,
        max_bin: int,
        hidden: int,
        layers: int,
        softmask: bool,
    ) -> None:
        super().__init__()
        self.max_bin, self.softmask = max_bin, softmask
        self.inputs, self.outputs = (bins, 2 * channels), (targets, bins, channels)
        self.input_mean = nn.Parameter(torch.zeros(targets, max_bin))
        self.input_scale = nn.Parameter(torch.ones(targets, max_bin))
        product = {"bias": False, "norm": True}
        self.fc1 = ParallelLinear(targets, max_bin * channels, hidden, **product)
        self.lstm = ParallelLSTM(targets, hidden, hidden, layers)
        self.fc2 = ParallelLinear(targets, 2 * hidden, hidden, **product)
        self.fc3 = ParallelLinear(targets, hidden, bins * channels, **product)
        self.output_scale = nn.Parameter(torch.ones(targets, bins))
        self.output_mean = nn.Parameter(torch.ones(targets, bins))

    def initial(self, batch: int, onset: int = 0) -> tuple[State, int]:
        state = {"lstm": self.lstm.initial(batch, onset)[0]}
        return state | start_countdown(batch, onset, self.device), onset

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        frames = x.shape[1]
        magnitude = power(x).sqrt().unflatten(-1, self.outputs[1:])[:, :, None]
        seen = magnitude[..., : self.max_bin, :] + self.input_mean[..., None]
        seen = (seen * self.input_scale[..., None]).flatten(-2)
        entered = torch.tanh(self.fc1(seen))
        recalled, lstm = self.lstm.step(entered, state["lstm"])
        y = torch.relu(self.fc2(torch.cat([entered, recalled], -1)))
        y = self.fc3(y).unflatten(-1, self.outputs[1:])
        masks = torch.relu(y * self.output_scale[..., None] + self.output_mean[..., None])
        if self.softmask:
            estimates = masks * magnitude
            masks = estimates / (estimates.sum(2, keepdim=True) + _LEAST)
        y = silence(masks, live_frames(state, frames))
        return y, {"lstm": lstm} | next_countdown(state, frames)


# Of all magnitudes together, so that silence is shared as nothing.
_LEAST = 1e-10
