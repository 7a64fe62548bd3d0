"""Wave-U-Net's public class, which pads nothing: on the segment, and in blocks.

Its input and output have one length each, the output's first sample belonging to the input's
`lost`-th; group norms see all of the segment. Every sample of the output is compared.
"""

from __future__ import annotations

import torch

from parity.blocks import check_in_blocks
from parity.form import Form, close, outside
from parity.vectors import Vector
from rtsep.checkpoints import importers
from rtsep.models.base import Separator


class Valid(Form):
    def model(self, vector: Vector) -> Separator:
        rate = {"sample_rate": int(vector.metadata["sample_rate"])}
        return importers.convert(vector.weights, "waveunet", rate | vector.config)

    def check_whole(self, vector: Vector) -> None:
        self._check_segment("whole", vector, self.model(vector))

    def check_streamed(self, vector: Vector, seed: int) -> None:
        taken, given = (vector.tensors[k].shape[-1] for k in ("input", "output"))
        check_in_blocks(vector, self.model(vector), seed, lost=(taken - given) // 2)

    def check_imported(self, vector: Vector, model: Separator) -> None:
        assert model.rate == int(vector.metadata["sample_rate"])
        with torch.no_grad():
            self._check_segment("imported", vector, model)

    def _check_segment(self, what: str, vector: Vector, model: Separator) -> None:
        assert model.params["blocks"]["window"] == vector.mixture.shape[1]
        found = model.network.network.layer.segment(vector.mixture)
        close(what, outside(found), vector.tensors["output"], vector.bound())


FORMS = {"model.waveunet.Waveunet": Valid()}
