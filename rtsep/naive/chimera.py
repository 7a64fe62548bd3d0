"""Chimera, the plain way: its mask head is that of Mask Inference."""

from __future__ import annotations

from torch import Tensor

from rtsep.models.chimera import Chimera
from rtsep.naive.maskinference import activated
from rtsep.naive.trunk import masked, mixed, scores, seen


def separate(model: Chimera, mixture: Tensor) -> Tensor:
    """(batch, channels, samples) to (batch, stems, channels, samples)."""
    raw = scores(model, seen(model, mixed(model, mixture)))
    return masked(model, mixture, activated(model.params["mask"], raw))
