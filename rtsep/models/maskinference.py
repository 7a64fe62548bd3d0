"""Mask Inference: a recurrent network that masks the spectrum."""

from __future__ import annotations

from rtsep.errors import WrongCall
from rtsep.models.spectral import SpectralSeparator, mask_head
from rtsep.streaming import Serial


class MaskInference(SpectralSeparator):
    """Weninger et al. 2014, "Discriminatively trained recurrent neural networks for single-channel
    speech separation"; Erdogan et al. 2015; the form of nussl (Manilow et al. 2018).

    LSTMs look at the mixture's spectrum, a product makes of each of their frames one mask per stem,
    and the masked spectra become sound with the mixture's phase. The causal form has forward LSTMs
    where the papers have bidirectional ones, and norms that need no future. Its windows are the
    asymmetric pair of Mauler and Martin (2007), long to look and short to play, as Wang et al. 2021
    ("Deep neural network based low-latency speech separation with asymmetric analysis-synthesis
    window pair"): 32 ms are seen at a latency of one 8 ms window less its hop.

    Args:
        mask: "sigmoid", "softmax" (over the stems), "relu", "tanh" or "linear".
        common: those of `SpectralSeparator`.
    """

    arch = "maskinference"

    def __init__(self, *, mask: str = "sigmoid", **common) -> None:
        super().__init__(**common, own={"mask": mask})
        if mask == "softmax" and self.masks == 1:
            raise WrongCall("mask 'softmax' of a single mask is 1 everywhere")
        self.finish_masks(Serial(self.new_trunk(), mask_head(self, mask)))
