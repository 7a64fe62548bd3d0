"""Attention within a segment, less the further away: for networks that run in blocks."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rtsep.streaming.layer import StreamingLayer


class LocalAttention(StreamingLayer):
    """Adds to each frame what it attends to among the others, (batch, frames, width).

    The "local attention" of Defossez 2021, "Hybrid Spectrogram and Waveform Source Separation": no
    embedding of positions, but a penalty of the distance, whose slopes each frame sets itself;
    no frame attends to itself. It has no step: `segment` alone.

    Args:
        heads: they share the width equally.
        slopes: penalties per head, the k-th growing k times as fast.
    """

    def __init__(self, width: int, heads: int = 4, slopes: int = 4) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"a width of {width} does not fall into {heads} heads")
        self.heads, self.slopes = heads, slopes
        self.inputs = self.outputs = (width,)
        self.content, self.query, self.key = (nn.Linear(width, width) for _ in range(3))
        self.penalty = nn.Linear(width, heads * slopes)
        self.product = nn.Linear(width, width)
        with torch.no_grad():
            # At first everything is near.
            self.penalty.weight *= 0.01
            self.penalty.bias.fill_(-2)

    def segment(self, x: Tensor) -> Tensor:
        frames = x.shape[1]
        content, query, key, penalty = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.content, self.query, self.key, self.penalty)
        )
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        rank = torch.arange(1, self.slopes + 1, dtype=x.dtype, device=x.device)
        slope = (penalty.sigmoid() * rank).sum(-1, keepdim=True) / (2 * math.sqrt(self.slopes))
        time = torch.arange(frames, device=x.device)
        distance = (time[:, None] - time).abs()
        scores = scores - slope * distance.to(x.dtype)
        scores = torch.where(distance == 0, torch.full_like(scores, -100), scores)
        attended = (scores.softmax(-1) @ content).transpose(1, 2).flatten(-2)
        return x + self.product(attended)
