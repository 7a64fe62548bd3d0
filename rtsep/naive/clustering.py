"""Online clustering, the plain way: hear, cluster at once, follow; row by row."""

from __future__ import annotations

import torch
from torch import Tensor

from rtsep.layers import OnlineClustering


def shared(layer: OnlineClustering, x: Tensor) -> Tensor:
    """(batch, frames, points, size + 1) to (batch, frames, clusters, points)."""
    return torch.stack([_row(layer, row) for row in x])


def _row(layer: OnlineClustering, x: Tensor) -> Tensor:
    count, fill, kept = layer.clusters, layer.fill, layer.kept
    waiting = fill + count + layer.iterations
    chosen = {-(-slot * fill // kept) for slot in range(kept)}
    heard, memory, centres, outputs = 0, [], None, []
    for frame in x:
        vectors, weights = frame[:, :-1], frame[:, -1]
        if centres is None:
            outputs.append(frame.new_full((count, len(frame)), 1 / count))
        else:
            outputs.append(_shares(layer, vectors, centres).T)
        if weights.square().sum() <= layer.floor:
            continue
        if heard in chosen:
            memory.append(frame)
        heard += 1
        if heard == waiting:
            centres = _cluster(layer, torch.cat(memory))
        elif heard > waiting:
            usual = torch.stack([old[:, -1].sum() for old in memory]).mean()
            pull = weights[:, None] * _shares(layer, vectors, centres) ** 2
            pull = pull / (weights.sum() + usual) * 2 / layer.follow
            offsets = vectors[:, None] - centres
            centres = centres + (pull[..., None] * offsets).sum(0)
    return torch.stack(outputs)


def _cluster(layer: OnlineClustering, memory: Tensor) -> Tensor:
    vectors, weights = memory[:, :-1], memory[:, -1]
    seeds = [vectors[weights.argmax()]]
    while len(seeds) < layer.clusters:
        far = torch.stack([(vectors - seed).square().sum(1) for seed in seeds]).amin(0)
        seeds.append(vectors[(weights * far).argmax()])
    centres = torch.stack(seeds)
    for _ in range(layer.iterations):
        pull = weights[:, None] * _shares(layer, vectors, centres)
        centres = pull.T @ vectors / pull.sum(0)[:, None]
    return centres


def _shares(layer: OnlineClustering, vectors: Tensor, centres: Tensor) -> Tensor:
    distances = (vectors[:, None] - centres).square().sum(-1)
    scores = torch.exp(-layer.sharpness * distances)
    return scores / scores.sum(1, keepdim=True)
