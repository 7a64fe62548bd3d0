"""Group norm, which sees a whole segment: for networks that run in blocks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtsep.streaming.layer import StreamingLayer


class GroupNorm(StreamingLayer):
    """Equals `torch.nn.GroupNorm(groups, channels)` on segments (batch, frames, channels).

    Wu and He 2018. Its statistics are those of all frames at once, so it has no step: `segment`
    alone, as a network has it that `Blockwise` runs.
    """

    def __init__(self, groups: int, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        if channels % groups:
            raise ValueError(f"{channels} channels don't fall into {groups} groups")
        self.groups, self.eps = groups, eps
        self.inputs = self.outputs = (channels,)
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def segment(self, x: Tensor) -> Tensor:
        y = F.group_norm(x.transpose(1, 2), self.groups, self.weight, self.bias, self.eps)
        return y.transpose(1, 2)
