"""Stems that sum to the mixture."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MixtureConsistency(nn.Module):
    """Joins estimates and the mixture so that the stems sum to it (Wisdom et al. 2019, eq. 5-7).

    A function of each sample alone, for `Skip(network, MixtureConsistency())`. With `to` None the
    difference is shared equally: estimates (..., stems, channels) in, as many out. With `to` a
    position, that stem is what the others leave of the mixture, and is not estimated at all:
    estimates (..., stems - 1, channels) in, (..., stems, channels) out.
    """

    def __init__(self, to: int | None = None) -> None:
        super().__init__()
        self.to_stem = to

    def forward(self, estimates: Tensor, mixture: Tensor) -> Tensor:
        """`mixture` is (..., channels)."""
        rest = mixture[..., None, :] - estimates.sum(-2, keepdim=True)
        if self.to_stem is None:
            return estimates + rest / estimates.shape[-2]
        before, after = estimates[..., : self.to_stem, :], estimates[..., self.to_stem :, :]
        return torch.cat([before, rest, after], -2)
