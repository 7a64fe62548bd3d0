"""Layer norms that need no future: both that public code calls "cLN".

Each has `normalise(x, memory, live)`, the step less its mask, for layers that mask by themselves.
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
