"""What every model is: a streaming layer from a mixture to named stems."""

from __future__ import annotations

import re
from typing import ClassVar

import torch
from torch import Tensor

from rtsep.errors import WrongCall
from rtsep.layers import MixtureConsistency
from rtsep.spec import ModelSpec
from rtsep.streaming import Skip, State, StreamingLayer

CONSISTENCIES = ("none", "equal", "remainder")


class Separator(StreamingLayer):
    """(batch, samples, channels) to (batch, samples, stems, channels), at `rate` Hz.

    A subclass builds its network as a `StreamingLayer` and hands it over with `finish`; `params`
    are the keyword arguments that built it; `configurations` are those that have a name, the
    low-latency form first.
    """

    arch: ClassVar[str]
    configurations: ClassVar[dict[str, dict]] = {}

    def __init__(self, arguments: dict) -> None:
        """`arguments`: the subclass's own, as its `locals()` are when it begins."""
        super().__init__()
        # As JSON has them.
        self.params = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in arguments.items()
            if name not in ("self", "__class__")
        }
        shared = ("rate", "channels", "stems", "primary", "remainder", "consistency")
        rate, channels, stems, primary, remainder, consistency = (arguments[n] for n in shared)
        stems = tuple(stems)
        if len(stems) < 1 or len(set(stems)) != len(stems):
            raise WrongCall(f"stems {', '.join(stems) or 'none'}: at least one, each name once")
        if wrong := [stem for stem in stems if not re.fullmatch(r"\w[\w -]*", stem)]:
            # A stem's name becomes a file's, and a gain's on the command line.
            raise WrongCall(f"stem {wrong[0]!r}: letters, digits, '_', '-' and spaces only")
        if channels not in (1, 2):
            raise WrongCall(f"{channels} channels: a model is mono (1) or stereo (2)")
        if rate < 1:
            raise WrongCall(f"rate {rate}: in samples per second, at least 1")
        self.rate, self.channels, self.stems = rate, channels, stems
        self.primary = stems[0] if primary is None else primary
        self.remainder = stems[-1] if remainder is None else remainder
        for role, stem in (("primary", self.primary), ("remainder", self.remainder)):
            if stem not in stems:
                raise WrongCall(f"{role} stem {stem!r} is none of {', '.join(stems)}")
        if consistency not in CONSISTENCIES:
            accepted = ", ".join(CONSISTENCIES)
            raise WrongCall(f"consistency {consistency!r}: it is one of {accepted}")
        if consistency == "remainder" and len(stems) == 1:
            raise WrongCall("consistency 'remainder' leaves nothing to estimate of one stem")
        self.consistency = consistency
        self.spec: ModelSpec | None = None
        # What imported weights meet here otherwise than where they were trained, for their card.
        self.remarks: tuple[str, ...] = ()
        self.inputs, self.outputs = (channels,), (len(stems), channels)

    @property
    def estimated(self) -> tuple[str, ...]:
        """The stems that the network itself gives: all, or all but what the others leave."""
        if self.consistency != "remainder":
            return self.stems
        return tuple(stem for stem in self.stems if stem != self.remainder)

    def finish(self, network: StreamingLayer) -> None:
        """Takes the network that gives the estimated stems, and makes them sum to the mixture."""
        if self.consistency != "none":
            to = self.stems.index(self.remainder) if self.consistency == "remainder" else None
            network = Skip(network, MixtureConsistency(to), self.outputs)
        self.network = network
        self.hop = network.hop

    @property
    def latency(self) -> int:
        """Samples by which the stems are late: the onset of the output, nothing declared."""
        return self.initial(1)[1]

    def initial(self, batch: int, onset: int = 0) -> tuple[State, int]:
        return self.network.initial(batch, onset)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.network.step(x, state)

    @torch.no_grad()
    def separate(self, mixture: Tensor) -> Tensor:
        """(batch, channels, samples) to (batch, stems, channels, samples), aligned, at once."""
        return self(mixture.transpose(1, 2)).permute(0, 2, 3, 1)
