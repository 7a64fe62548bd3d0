"""Batch norm, whose frozen statistics cost a stream nothing: they become part of a product."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BatchNorm(nn.Module):
    """Each channel over all frames of a batch while training, by frozen statistics afterwards.

    Equals `torch.nn.BatchNorm1d` or `2d` with the channels last, (..., channels), and has their
    tensors but for the count of batches. Ioffe and Szegedy 2015. Frozen, it is a product and a sum
    per channel: a layer that has one as its `norm` takes both into its own weights with `folded`,
    which an exporter computes once.
    """

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            scale, shift = self.frozen()
            return x * scale + shift
        y = F.batch_norm(
            x.flatten(0, -2),
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=True,
            momentum=self.momentum,
            eps=self.eps,
        )
        return y.view_as(x)

    def frozen(self) -> tuple[Tensor, Tensor]:
        """What each channel is multiplied by, and what is added."""
        scale = self.weight * torch.rsqrt(self.running_var + self.eps)
        return scale, self.bias - self.running_mean * scale


def folded(layer: nn.Module, axis: int = 0) -> tuple[Tensor, Tensor | None]:
    """The weight and bias of a layer, those of its frozen `norm` within.

    `axis` is that of the output channels in the weight.
    """
    norm: BatchNorm | None = layer.norm
    if norm is None or norm.training:
        return layer.weight, layer.bias
    scale, shift = norm.frozen()
    shape = [-1 if i == axis else 1 for i in range(layer.weight.dim())]
    bias = shift if layer.bias is None else layer.bias * scale + shift
    return layer.weight * scale.view(shape), bias


def normed(layer: nn.Module, y: Tensor) -> Tensor:
    """The layer's output through its `norm`, where that is not in the weights: while training."""
    norm: BatchNorm | None = layer.norm
    return norm(y) if norm is not None and norm.training else y
