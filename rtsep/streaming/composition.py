"""Layers made of layers: alignment follows from composition, nobody counts delays by hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import torch
from torch import Tensor, nn

from rtsep.streaming.layer import StreamingLayer
from rtsep.streaming.state import (
    State,
    live_frames,
    next_countdown,
    silence,
    start_countdown,
)


class Serial(StreamingLayer):
    """One layer after the other."""

    def __init__(self, *layers: StreamingLayer) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.ratio = Fraction(math.prod((layer.ratio for layer in layers), start=Fraction(1)))
        self.hop = _common_hop(layers)
        self.inputs = next((layer.inputs for layer in layers if layer.inputs is not None), None)
        known = (layer.outputs for layer in reversed(layers) if layer.outputs is not None)
        self.outputs = next(known, None)

    def initial(self, batch: int, onset: int = 0) -> tuple[State, int]:
        states = []
        for layer in self.layers:
            state, onset = layer.initial(batch, onset)
            states.append(state)
        return states, onset

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        following = []
        for layer, before in zip(self.layers, state, strict=True):
            x, after = layer.step(x, before)
            following.append(after)
        return x, following

    def segment(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer.segment(x)
        return x


class Pointwise(StreamingLayer):
    """A function of each frame alone: an activation, a product with a matrix, a norm."""

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        inputs: tuple[int, ...] | None = None,
        outputs: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        self.function = function
        self.inputs = inputs
        self.outputs = inputs if outputs is None else outputs

    def initial(self, batch: int, onset: int = 0) -> tuple[State, int]:
        return start_countdown(batch, onset, self.device), onset

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        frames = x.shape[1]
        y = silence(self.function(x), live_frames(state, frames))
        return y, next_countdown(state, frames)


class Delay(StreamingLayer):
    """The input, `frames` frames later, of frames of shape `inputs`."""

    def __init__(self, frames: int, inputs: tuple[int, ...]) -> None:
        super().__init__()
        self.frames = frames
        self.inputs = self.outputs = tuple(inputs)

    def initial(self, batch: int, onset: int = 0) -> tuple[State, int]:
        return {"past": self.zeros(batch, self.frames, *self.inputs)}, onset + self.frames

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        y, past = _delay(x, state["past"])
        return y, {"past": past}


class Fork(StreamingLayer):
    """Several layers on one input, joined; the earlier ones are delayed to meet the latest.

    `join` takes the branches' outputs, in order, and is a function of each frame alone.
    """

    def __init__(
        self,
        branches: Sequence[StreamingLayer],
        join: Callable[..., Tensor],
        outputs: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        if len({branch.ratio for branch in branches}) != 1:
            raise ValueError("the branches of a fork must have one ratio")
        self.branches = nn.ModuleList(branches)
        self.join = join
        self.ratio = branches[0].ratio
        self.hop = math.lcm(*(branch.hop for branch in branches))
        self.inputs = next((b.inputs for b in branches if b.inputs is not None), None)
        self.outputs = outputs

    def initial(self, batch: int, onset: int = 0) -> tuple[State, int]:
        states, onsets = zip(
            *(branch.initial(batch, onset) for branch in self.branches), strict=True
        )
        latest = max(onsets)
        past = {}
        for index, (branch, own) in enumerate(zip(self.branches, onsets, strict=True)):
            if own < latest:
                shape = branch.outputs if branch.outputs is not None else self.inputs
                past[str(index)] = self.zeros(batch, latest - own, *shape)
        state = {"branches": list(states), "past": past}
        return state | start_countdown(batch, latest, self.device), latest

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        outputs, states, pasts = [], [], {}
        for index, (branch, before) in enumerate(
            zip(self.branches, state["branches"], strict=True)
        ):
            y, after = branch.step(x, before)
            if (past := state["past"].get(str(index))) is not None:
                y, pasts[str(index)] = _delay(y, past)
            outputs.append(y)
            states.append(after)
        frames = outputs[0].shape[1]
        y = silence(self.join(*outputs), live_frames(state, frames))
        return y, {"branches": states, "past": pasts} | next_countdown(state, frames)

    def segment(self, x: Tensor) -> Tensor:
        """Branches that end with fewer frames have lost as many at either end."""
        outputs = [branch.segment(x) for branch in self.branches]
        shortest = min(y.shape[1] for y in outputs)
        return self.join(*(_middle(y, shortest) for y in outputs))


def Skip(  # noqa: N802 - reads as the layer it makes
    inner: StreamingLayer,
    join: Callable[[Tensor, Tensor], Tensor],
    outputs: tuple[int, ...] | None = None,
) -> Fork:
    """`join(inner(x), x)`, with `x` delayed by what `inner` is late."""
    return Fork([inner, Identity(inner.inputs)], join, outputs)


def Residual(inner: StreamingLayer) -> Fork:  # noqa: N802 - reads as the layer it makes
    """`inner(x) + x`, with `x` delayed by what `inner` is late."""
    return Skip(inner, torch.add, inner.outputs)


class Identity(StreamingLayer):
    """The input, as it is."""

    def __init__(self, inputs: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.inputs = self.outputs = inputs

    def initial(self, batch: int, onset: int = 0) -> tuple[State, int]:
        return {}, onset

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return x, state


def _middle(x: Tensor, frames: int) -> Tensor:
    if x.shape[1] == frames:
        return x
    start = (x.shape[1] - frames) // 2
    return x[:, start : start + frames]


def _delay(x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
    joined = torch.cat([past, x], 1)
    return joined[:, : x.shape[1]], joined[:, x.shape[1] :]


def _common_hop(layers: Sequence[StreamingLayer]) -> int:
    """The fewest frames in of which every layer along the chain gets a multiple of its hop."""
    hop, ratio = 1, Fraction(1)
    for layer in layers:
        # hop * ratio frames reach this layer; the factor makes them a multiple of layer.hop.
        reaching = hop * ratio / layer.hop
        hop *= reaching.denominator
        ratio *= layer.ratio
    return hop
