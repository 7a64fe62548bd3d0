"""Clusters that are found while the sound goes on: soft k-means, then centres that follow."""

from __future__ import annotations

import torch
from torch import Tensor

from rtsep.streaming.layer import StreamingLayer
from rtsep.streaming.state import (
    State,
    live_frames,
    next_countdown,
    silence,
    start_countdown,
)


class OnlineClustering(StreamingLayer):
    """Embeddings of a spectrum's points to how much each point belongs to each cluster.

    (batch, frames, points, size + 1) to (batch, frames, clusters, points): in, each point is a
    vector of unit length and, last, its weight, of the order of its magnitude; out, shares that sum
    to 1 over the clusters.

    A stream goes through three stages, by the number of frames in which there was sound:

    1. The first `fill` are heard. `kept` of them, evenly spread, are remembered.
    2. Of what is remembered the centres are made, a little in each of the following
       `clusters + iterations` frames, so that no frame costs more than another. The first centre is
       the weightiest point, each other one the point whose weight times squared distance from the
       nearest centre so far is largest: k-means++ without its dice. Then come the iterations.
    3. From then on frame `k` is shared out by the centres of frame `k - 1`, and its points draw
       those with their weight times the square of their share, as in fuzzy c-means (Bezdek 1981):
       points that belong to nobody in particular hardly move anything, so a cluster that falls
       silent stays where it is, and no centre can take another's place.

    Up to the third stage all shares are equal. Everything is decided frame by frame, so the split
    into steps makes no difference.

    Args:
        fill, kept, iterations: as above.
        sharpness: of the shares, `softmax(-sharpness * squared distance)`.
        follow: frames over which centres follow points as loud as those first heard; twice as many
            where these are half of all.
        floor: sum of the squared weights above which there is sound in a frame.
    """

    def __init__(
        self,
        points: int,
        size: int,
        clusters: int,
        *,
        fill: int,
        kept: int = 16,
        iterations: int = 8,
        sharpness: float = 8.0,
        follow: float = 1000.0,
        floor: float = 1e-7,
    ) -> None:
        super().__init__()
        if min(points, size, clusters, fill, iterations) < 1 or not 1 <= kept <= fill:
            raise ValueError(
                f"{kept} frames kept of {fill}, {iterations} iterations for {clusters} clusters: "
                "at least 1 each, and no more kept than heard"
            )
        self.clusters, self.fill, self.kept = clusters, fill, kept
        self.iterations, self.sharpness = iterations, sharpness
        self.follow, self.floor = follow, floor
        self.inputs, self.outputs = (points, size + 1), (clusters, points)
        self.ready = fill + clusters + iterations
        # Which of the frames heard are kept, evenly spread from the first on.
        remembered = torch.tensor([-(-slot * fill // kept) for slot in range(kept)])
        self.register_buffer("remembered", remembered, persistent=False)

    def initial(self, batch: int, onset: int = 0) -> tuple[State, int]:
        points, width = self.inputs
        state = {
            "heard": torch.zeros(batch, dtype=torch.int64, device=self.device),
            "vectors": self.zeros(batch, self.kept, points, width - 1),
            "weights": self.zeros(batch, self.kept, points),
            "centres": self.zeros(batch, self.clusters, width - 1),
        }
        return state | start_countdown(batch, onset, self.device), onset

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        live = live_frames(state, x.shape[1])
        heard, centres = state["heard"], state["centres"]
        memory = state["vectors"], state["weights"]
        outputs = []
        for index in range(x.shape[1]):
            vectors, weights = x[:, index, :, :-1], x[:, index, :, -1]
            sounding = weights.square().sum(-1) > self.floor
            if live is not None:
                sounding = sounding & live[:, index]
            shares = self._shares(_distances(vectors, centres))
            ready = (heard >= self.ready)[:, None, None]
            outputs.append(torch.where(ready, shares, 1 / self.clusters))

            sought = self._sought(*memory, centres, heard - self.fill)
            usual = memory[1].sum(-1).mean(-1)
            moved = self._moved(vectors, weights, shares, usual, centres)
            moved = torch.where(ready, moved, sought)
            centres = torch.where(sounding[:, None, None], moved, centres)
            # Where in the memory this frame goes, if anywhere.
            slot = ((heard[:, None] == self.remembered) & sounding[:, None])[..., None]
            memory = (
                torch.where(slot[..., None], vectors[:, None], memory[0]),
                torch.where(slot, weights[:, None], memory[1]),
            )
            heard = (heard + sounding).clamp(max=self.ready)
        y = silence(torch.stack(outputs, 1), live)
        following = {"heard": heard, "vectors": memory[0], "weights": memory[1], "centres": centres}
        return y, following | next_countdown(state, x.shape[1])

    def _shares(self, distances: Tensor) -> Tensor:
        """A softmax over the clusters, axis 1; spelt out, since engines turn such an axis round."""
        scores = torch.exp(self.sharpness * (distances.amin(1, keepdim=True) - distances))
        return scores / scores.sum(1, keepdim=True)

    def _sought(self, vectors: Tensor, weights: Tensor, centres: Tensor, stage: Tensor) -> Tensor:
        """The centres after one more stage: another seed, or another iteration."""
        vectors, weights = vectors.flatten(1, 2), weights.flatten(1, 2)[:, None]
        distances = _distances(vectors, centres)
        stage = stage[:, None, None]
        places = torch.arange(self.clusters, device=stage.device)[:, None]

        # 4 is the largest distance, squared, of vectors of unit length.
        nearest = torch.where(places < stage, distances, 4.0).amin(1, keepdim=True)
        score = weights * nearest
        # Points of equal score are as one: the mean of them.
        best = (score == score.amax(-1, keepdim=True)).to(vectors.dtype)
        seed = best @ vectors / best.sum(-1, keepdim=True)
        seeded = torch.where(places == stage, seed, centres)

        pull = weights * self._shares(distances)
        total = pull.sum(-1, keepdim=True)
        means = pull @ vectors / total.clamp(min=_LEAST)
        iterated = torch.where(total > _LEAST, means, centres)
        chosen = torch.where(stage < self.clusters, seeded, iterated)
        return torch.where(stage >= 0, chosen, centres)

    def _moved(
        self, vectors: Tensor, weights: Tensor, shares: Tensor, usual: Tensor, centres: Tensor
    ) -> Tensor:
        """The centres, drawn by the points of one frame; `usual` is what a frame weighs."""
        total = weights.sum(-1) + usual
        pull = weights[:, None] * shares.square() / total.clamp(min=_LEAST)[:, None, None]
        drawn = pull @ vectors - pull.sum(-1, keepdim=True) * centres
        # Points as loud as those first heard are half of the total.
        return centres + drawn * (2 / self.follow)


# Below any weight that is heard: only what is not chosen is divided by it.
_LEAST = 1e-20


def _distances(vectors: Tensor, centres: Tensor) -> Tensor:
    """Squared, of vectors of unit length from each centre: (batch, clusters, points)."""
    products = centres @ vectors.transpose(1, 2)
    return 1 - 2 * products + centres.square().sum(-1, keepdim=True)
