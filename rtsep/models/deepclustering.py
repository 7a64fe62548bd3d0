"""Deep Clustering: each point of the spectrum is embedded, and what lies together is a stem."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from rtsep.errors import WrongCall
from rtsep.layers import OnlineClustering
from rtsep.layers.features import compressed
from rtsep.models.arguments import at_least
from rtsep.models.embedding import EmbeddingSeparator
from rtsep.streaming import Fork, Pointwise, Serial


class DeepClustering(EmbeddingSeparator):
    """Hershey et al. 2016, "Deep clustering: discriminative embeddings for segmentation and
    separation"; the form of nussl (Manilow et al. 2018).

    LSTMs embed every bin of every frame; bins of one source lie close together. The paper's LSTMs
    are bidirectional and its k-means sees the whole signal. Here they run forward, and the clusters
    are found and followed while the sound goes on (`OnlineClustering`): until `settle` seconds of
    sound were heard each stem is the mixture ÷ stems. The windows are those of Wang et al. 2019,
    "Low-latency deep clustering for speech separation": long to look and short to play.

    Which stem a source becomes is decided by the sound alone: the first stem is the one with the
    weightiest point.

    Args:
        embedding: size of an embedding, which has unit length.
        activation: before the length is made 1, "sigmoid", "tanh" or "linear".
        settle: seconds of sound after which the stems part.
        follow: seconds over which the clusters' centres follow a steady sound.
        sharpness: of the masks, `softmax(-sharpness * squared distance)`.
        common: those of `SpectralSeparator`.
    """

    arch = "deepclustering"

    def __init__(
        self,
        *,
        embedding: int = 20,
        activation: str = "sigmoid",
        settle: float = 0.3,
        follow: float = 4.0,
        sharpness: float = 8.0,
        **common,
    ) -> None:
        super().__init__(
            **common,
            own={
                "embedding": embedding,
                "activation": activation,
                "settle": settle,
                "follow": follow,
                "sharpness": sharpness,
            },
        )
        at_least(0, settle=settle, sharpness=sharpness)
        if not follow > 0:
            raise WrongCall(f"follow {follow:g}: it is above 0")
        embedded = Serial(self.new_trunk(), self.new_embedding(embedding, activation))
        channels, per_second = self.channels, self.rate / self.params["hop"]
        # Some of the frames before the stems part go into finding the centres.
        working = len(self.stems) + _ITERATIONS
        fill = max(1, round(settle * per_second) - working)
        clusters = OnlineClustering(
            self.bins * channels,
            embedding,
            len(self.stems),
            fill=fill,
            kept=min(_KEPT, fill),
            iterations=_ITERATIONS,
            sharpness=sharpness,
            follow=follow * per_second,
        )
        weights = Pointwise(compressed(1.0, self.scale), self.spectrum, (self.bins * channels,))
        points = Fork([embedded, weights], _points, clusters.inputs)
        # The remainder stem's mask is not needed where that stem is what the others leave.
        spared = None if self.masks == len(self.stems) else self.stems.index(self.remainder)
        masks = functools.partial(_masks, spared=spared, shape=(self.bins, channels))
        shape = (self.masks, self.bins, channels)
        self.finish_masks(Serial(points, clusters, Pointwise(masks, clusters.outputs, shape)))


_ITERATIONS = 8
# Frames of which the centres are made: more would cost time in every frame.
_KEPT = 16


def _points(embeddings: Tensor, weights: Tensor) -> Tensor:
    """(batch, frames, bins, channels, size) and weights to (batch, frames, points, size + 1)."""
    return torch.cat([embeddings.flatten(2, 3), weights[..., None]], -1)


def _masks(shares: Tensor, spared: int | None, shape: tuple[int, int]) -> Tensor:
    """Shares (batch, frames, clusters, points) to the masks of all clusters but one."""
    if spared is not None:
        shares = torch.cat([shares[:, :, :spared], shares[:, :, spared + 1 :]], 2)
    return shares.unflatten(-1, shape)
