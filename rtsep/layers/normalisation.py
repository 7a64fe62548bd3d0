"""Norms that need no future: both layer norms that public code calls "cLN", and a moving mean.

Each layer norm has `normalise(x, memory, live)`, the step less its mask, for layers that mask by
themselves.
"""

from __future__ import annotations

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


class LayerNorm(StreamingLayer):
    """What both norms share: a gain and a bias per channel, and the mask before the onset."""

    def __init__(self, channels: int, eps: float = 1e-8) -> None:
        super().__init__()
        self.eps = eps
        self.inputs = self.outputs = (channels,)
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def initial(self, batch: int, onset: int = 0) -> tuple[State, int]:
        return self.memory(batch) | start_countdown(batch, onset, self.device), onset

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        frames = x.shape[1]
        live = live_frames(state, frames)
        y, memory = self.normalise(x, state, live)
        return silence(y, live), memory | next_countdown(state, frames)

    def memory(self, batch: int) -> dict[str, Tensor]:
        """What the norm remembers, before the first frame."""
        return {}

    def normalise(
        self, x: Tensor, memory: dict[str, Tensor], live: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Unmasked frames and the next memory, which only live frames enter."""
        raise TypeError(f"{type(self).__name__} is no norm")


class FrameLayerNorm(LayerNorm):
    """Each frame over its channels, biased variance (asteroid "cLN", cadenza "cLN")."""

    def normalise(
        self, x: Tensor, memory: dict[str, Tensor], live: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return nn.functional.layer_norm(x, self.inputs, self.weight, self.bias, self.eps), {}


class CumulativeLayerNorm(LayerNorm):
    """Over the channels of all frames so far (Luo and Mesgarani 2019, "cLN"; asteroid "cgLN").

    Kept as running means and a whole-number count: a float32 sum would stall after hours.
    """

    def memory(self, batch: int) -> dict[str, Tensor]:
        return {
            "frames": torch.zeros(batch, 1, dtype=torch.int64, device=self.device),
            "mean": self.zeros(batch, 1),
            "power": self.zeros(batch, 1),
        }

    def normalise(
        self, x: Tensor, memory: dict[str, Tensor], live: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        heard = torch.ones_like(x[..., 0], dtype=torch.int64) if live is None else live.long()
        count = memory["frames"] + heard.cumsum(1)
        divisor = count.clamp(min=1).to(x.dtype)
        weight = heard.to(x.dtype)

        def running(value: Tensor, before: Tensor) -> Tensor:
            # The mean after frame j is the mean before the step plus the deviations since.
            return before + ((value - before) * weight).cumsum(1) / divisor

        mean = running(x.mean(-1), memory["mean"])
        power = running(x.square().mean(-1), memory["power"])
        variance = (power - mean.square()).clamp(min=0)
        scale = torch.rsqrt(variance + self.eps)
        y = (x - mean[..., None]) * scale[..., None] * self.weight + self.bias
        last = {"frames": count[:, -1:], "mean": mean[:, -1:], "power": power[:, -1:]}
        return y, last


class Affine(LayerNorm):
    """A gain and a bias per channel, no statistics: what remains of a batch norm once trained."""

    def normalise(
        self, x: Tensor, memory: dict[str, Tensor], live: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return x * self.weight + self.bias, {}


class MovingMean(StreamingLayer):
    """Each channel's exponentially weighted mean so far, the frame itself included.

    With decay `d = exp(-1 / span)`, frame `j` becomes `sum_i d^(j-i) x_i / sum_i d^(j-i)`, i from
    the onset to j: an average over all of a short past, over about `span` frames of a long one.

    Computed as a product with a triangle of powers of `d`, a few hundred frames at a time.
    """

    def __init__(self, channels: int, span: float) -> None:
        super().__init__()
        self.inputs = self.outputs = (channels,)
        # No buffers: in float64 the powers must be exact, even if the layer was float32 before.
        frames = torch.arange(_PIECE, dtype=torch.float64)
        self._past = torch.exp(-(frames + 1) / span)
        self._weights = torch.exp(-(frames[:, None] - frames) / span).tril()

    def initial(self, batch: int, onset: int = 0) -> tuple[State, int]:
        state = {"sum": self.zeros(batch, *self.inputs), "weight": self.zeros(batch, 1)}
        return state | start_countdown(batch, onset, self.device), onset

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        frames = x.shape[1]
        live = live_frames(state, frames)
        x = silence(x, live)
        heard = torch.ones_like(x[..., :1]) if live is None else live.to(x.dtype)[..., None]
        sums, weights, means = state["sum"], state["weight"], []
        for start in range(0, frames, _PIECE):
            n = min(_PIECE, frames - start)
            triangle, past = self._weights[:n, :n].to(x), self._past[:n, None].to(x)
            total = triangle @ x[:, start : start + n] + past * sums[:, None]
            weight = triangle @ heard[:, start : start + n] + past * weights[:, None]
            sums, weights = total[:, -1], weight[:, -1]
            means.append(total / weight.clamp(min=_LEAST))
        following = {"sum": sums, "weight": weights} | next_countdown(state, frames)
        return silence(torch.cat(means, 1), live), following


class MovingMeanNorm(MovingMean):
    """Each channel less its moving mean.

    Levels that last, of a microphone or a steady noise, go; what changes stays (the mean
    normalisation of DeepFilterNet, Schroeter et al. 2022, without its fixed start).
    """

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        mean, following = super().step(x, state)
        return silence(x, live_frames(state, x.shape[1])) - mean, following


_PIECE = 256
# Below any weight of a frame that was heard (1 or more): only what is masked is divided by it.
_LEAST = 1e-3
