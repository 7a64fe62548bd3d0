"""Deep Clustering, the plain way."""

from __future__ import annotations

import torch
from torch import Tensor

from rtsep.layers import OnlineClustering
from rtsep.models.deepclustering import DeepClustering
from rtsep.models.embedding import Embedding
from rtsep.naive.clustering import shared
from rtsep.naive.trunk import ACTIVATIONS, masked, mixed, scores, seen


def separate(model: DeepClustering, mixture: Tensor) -> Tensor:
    """(batch, channels, samples) to (batch, stems, channels, samples)."""
    spectrum = mixed(model, mixture)
    vectors = embeddings(model, spectrum).flatten(2, 3)
    magnitude = spectrum.abs().permute(0, 3, 2, 1).flatten(2) * model.scale
    weights = (magnitude.square() + 1e-12).sqrt()
    clusters = next(part for part in model.modules() if isinstance(part, OnlineClustering))
    shares = shared(clusters, torch.cat([vectors, weights[..., None]], -1))
    if model.params["consistency"] == "remainder":
        at = model.stems.index(model.remainder)
        shares = torch.cat([shares[:, :, :at], shares[:, :, at + 1 :]], 2)
    return masked(model, mixture, shares.unflatten(-1, (model.bins, model.channels)))


def embeddings(model: DeepClustering, spectrum: Tensor) -> Tensor:
    """(batch, frames, bins, channels, size)."""
    x = ACTIVATIONS[model.params["activation"]](scores(model, seen(model, spectrum), Embedding))
    return x / x.square().sum(-1, keepdim=True).sqrt()
