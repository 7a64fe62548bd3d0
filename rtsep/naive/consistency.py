"""Mixture consistency, the plain way, for every twin."""

from __future__ import annotations

import torch
from torch import Tensor

from rtsep.models.base import Separator


def consistent(model: Separator, stems: Tensor, mixture: Tensor) -> Tensor:
    """(batch, estimated stems, channels, samples) to all stems, as the model's params say."""
    missing = mixture[:, None] - stems.sum(1, keepdim=True)
    if model.params["consistency"] == "equal":
        return stems + missing / stems.shape[1]
    if model.params["consistency"] == "remainder":
        at = model.stems.index(model.remainder)
        return torch.cat([stems[:, :at], missing, stems[:, at:]], 1)
    return stems
