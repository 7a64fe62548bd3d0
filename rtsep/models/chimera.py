"""Chimera: a mask head and an embedding head on one trunk."""

from __future__ import annotations

from rtsep.models.embedding import EmbeddingSeparator
from rtsep.models.spectral import mask_head
from rtsep.streaming import Serial


class Chimera(EmbeddingSeparator):
    """Luo et al. 2017, "Deep clustering and conventional networks for music separation: stronger
    together"; the form of nussl (Manilow et al. 2018).

    What is heard comes from the mask head, as in Mask Inference. The embedding head, as in Deep
    Clustering, is there to train the trunk with: `embed` gives what it makes, a stream never runs
    it. The causal form differs from the paper's as Mask Inference does: LSTMs forward in time,
    norms that need no future, windows that are long to look and short to play.

    Args:
        mask: "sigmoid", "softmax" (over the stems), "relu", "tanh" or "linear".
        embedding: size of an embedding, which has unit length.
        activation: before the length is made 1, "sigmoid", "tanh" or "linear".
        common: those of `SpectralSeparator`.
    """

    arch = "chimera"

    def __init__(
        self,
        *,
        mask: str = "softmax",
        embedding: int = 20,
        activation: str = "sigmoid",
        **common,
    ) -> None:
        super().__init__(
            **common, own={"mask": mask, "embedding": embedding, "activation": activation}
        )
        self.embedding = self.new_embedding(embedding, activation)
        self.finish_masks(Serial(self.new_trunk(), mask_head(self, mask)))
