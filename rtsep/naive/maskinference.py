"""Mask Inference, the plain way."""

from __future__ import annotations

from torch import Tensor

from rtsep.models.maskinference import MaskInference
from rtsep.naive.trunk import ACTIVATIONS, masked, mixed, scores, seen


def separate(model: MaskInference, mixture: Tensor) -> Tensor:
    """(batch, channels, samples) to (batch, stems, channels, samples)."""
    raw = scores(model, seen(model, mixed(model, mixture)))
    return masked(model, mixture, activated(model.params["mask"], raw))


def activated(mask: str, raw: Tensor) -> Tensor:
    """Scores (batch, frames, masks, bins, channels) to masks."""
    return raw.softmax(2) if mask == "softmax" else ACTIVATIONS[mask](raw)
