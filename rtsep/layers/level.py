"""A network that hears everything at one level, and gives back the level that was taken."""

from __future__ import annotations

import torch
from torch import Tensor

from rtsep.layers.normalisation import MovingMean
from rtsep.streaming.layer import StreamingLayer
from rtsep.streaming.state import State


class Levelled(StreamingLayer):
    """`inner(x / (floor + level)) * level`, with the level that the sound has had of late.

    Public forms divide by the deviation of the whole signal, which no stream knows. Here the level
    of each block is the root of the moving mean of the blocks' powers, itself included: of all that
    was heard while that is little, of about the last `span` blocks later on. At the output stands
    the level of the same moment: where `inner` passes its input on, nothing changes.

    Args:
        inner: from samples (batch, n, channels) to as many frames of any shape.
        block: samples over which one level holds.
        floor: added to the level, so that silence is not blown up.
    """

    def __init__(self, inner: StreamingLayer, block: int, span: float, floor: float) -> None:
        super().__init__()
        if inner.ratio != 1 or inner.hop % block:
            raise ValueError(f"blocks of {block} samples don't fit a hop of {inner.hop}")
        self.inner, self.block, self.floor = inner, block, floor
        self.mean = MovingMean(1, span)
        self.hop, self.inputs, self.outputs = inner.hop, inner.inputs, inner.outputs

    def initial(self, batch: int, onset: int = 0) -> tuple[State, int]:
        # The first block begins with the sound.
        extra = -onset % self.block
        mean, _ = self.mean.initial(batch, (onset + extra) // self.block)
        inner, out = self.inner.initial(batch, onset + extra)
        state = {
            "past": self.zeros(batch, extra, *self.inputs),
            "mean": mean,
            "inner": inner,
            "level": self.zeros(batch, out - onset - extra, 1),
        }
        return state, out

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        frames = x.shape[1]
        joined = torch.cat([state["past"], x], 1)
        x = joined[:, :frames]
        level, mean = self._level(x, state["mean"])
        levels = torch.cat([state["level"], level], 1)
        y, inner = self.inner.step(x / (self.floor + level), state["inner"])
        y = y * levels[:, :frames].view(*y.shape[:2], *[1] * (y.dim() - 2))
        following = {
            "past": joined[:, frames:],
            "mean": mean,
            "inner": inner,
            "level": levels[:, frames:],
        }
        return y, following

    def _level(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """(batch, frames, 1): the level of each sample's block."""
        power = x.mean(-1).square().unflatten(1, (-1, self.block)).mean(2)
        mean, state = self.mean.step(power[..., None], state)
        level = mean.clamp(min=0).sqrt()[:, :, None]
        return level.expand(-1, -1, self.block, -1).flatten(1, 2), state
