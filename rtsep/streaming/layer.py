"""The contract that every layer and every model keeps."""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor, nn

from rtsep.streaming.state import State


class StreamingLayer(nn.Module):
    """A layer that takes frames as they come and knows by how much its output is late.

    Stream index `i` stands for time `i - onset`: before the onset there is no sound, the layer
    yields zeros there and its memory stays untouched, as in the public form, which has nothing
    there at all.

    Attributes:
        ratio: frames out per frame in.
        hop: a step accepts multiples of this many frames.
        inputs: the shape of one input frame, without batch and time; None accepts any.
        outputs: the shape of one output frame; None is that of the input.
    """

    ratio: Fraction = Fraction(1)
    hop: int = 1
    inputs: tuple[int, ...] | None = None
    outputs: tuple[int, ...] | None = None

    def __init__(self) -> None:
        super().__init__()
        # Follows .to() and .double(), so that a fresh state has the layer's device and type.
        self.register_buffer("_anchor", torch.empty(0), persistent=False)

    def initial(self, batch: int, onset: int = 0) -> tuple[State, int]:
        """The state before the first frame, and the output's onset, for an input's onset."""
        raise TypeError(f"{type(self).__name__} has no initial state")

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """(batch, n * hop, *inputs) and a state to (batch, n * hop * ratio, *outputs) and the next.

        Never changes `state`.
        """
        raise TypeError(f"{type(self).__name__} has no step")

    def forward(self, x: Tensor) -> Tensor:
        """The whole signal at once, (batch, frames, *inputs): one step, aligned with the input."""
        frames = x.shape[1]
        wanted = int(frames * self.ratio)
        state, onset = self.initial(x.shape[0])
        needed = max(frames, math.ceil((wanted + onset) / self.ratio))
        padding = -(-needed // self.hop) * self.hop - frames
        if padding:
            x = torch.cat([x, x.new_zeros(x.shape[0], padding, *x.shape[2:])], 1)
        y, _ = self.step(x, state)
        return y[:, onset : onset + wanted]

    def segment(self, x: Tensor) -> Tensor:
        """A segment that is all there is, (batch, frames, *inputs), as a public form treats it.

        There each layer by itself has nothing beyond either end, where a stream, whose input ends,
        still has what the layers before make of silence. Layers whose public form is longer or
        shorter than `frames * ratio` give as many frames as it.
        """
        return self.forward(x)

    def zeros(self, *shape: int) -> Tensor:
        """Zeros of the layer's device and type."""
        return self._anchor.new_zeros(shape)

    @property
    def device(self) -> torch.device:
        return self._anchor.device
