"""The embedding head that Deep Clustering and Chimera put on the trunk."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from rtsep.models.arguments import at_least, one_of
from rtsep.models.spectral import ACTIVATIONS, Head, SpectralSeparator
from rtsep.streaming import Pointwise, Serial

# Not "relu", of which all may be 0, and then no length is 1.
UNITS = ("sigmoid", "tanh", "linear")


class Embedding(Head):
    """A vector of unit length for each bin: (…, hidden) to (…, bins, channels, size)."""

    def __init__(self, hidden: int, shape: tuple[int, ...], activation: str) -> None:
        super().__init__(hidden, shape, ACTIVATIONS[activation])

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(super().forward(x), dim=-1)


class EmbeddingSeparator(SpectralSeparator):
    """One of whose heads embeds. A subclass puts `new_embedding` somewhere."""

    def new_embedding(self, size: int, activation: str) -> Pointwise:
        """Trunk frames to embeddings, with fresh weights."""
        one_of(activation=(activation, UNITS))
        at_least(1, embedding=size)
        shape, hidden = (self.bins, self.channels, size), self.params["hidden"]
        return Pointwise(Embedding(hidden, shape, activation), (hidden,), shape)

    @property
    def embedder(self) -> Serial:
        """Sound to embeddings: the model's own layers, with their weights."""
        head = next(
            layer
            for layer in self.modules()
            if isinstance(layer, Pointwise) and isinstance(layer.function, Embedding)
        )
        return Serial(self.spectrogram, self.trunk, head)

    def embed(self, mixture: Tensor) -> Tensor:
        """(batch, channels, samples) to (batch, frames, bins, channels, size), aligned."""
        return self.embedder(mixture.transpose(1, 2))
