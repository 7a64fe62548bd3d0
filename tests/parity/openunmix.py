"""Open-Unmix's public classes."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from parity.form import Form, close, outside
from parity.vectors import Vector
from rtsep.checkpoints import importers
from rtsep.layers import Spectrogram
from rtsep.models.base import Separator
from rtsep.models.openunmix import TargetNetworks


class Continued(Vector):
    """The input goes on with its reflection, as the public transform sees it beyond the end."""

    @cached_property
    def mixture(self) -> Tensor:
        given = super().mixture
        beyond = self.config.get("n_fft", given.shape[1])
        return torch.cat([given, given[:, -1 - beyond : -1].flip(1)], 1)


class Centred(Form):
    """A centred transform that reflects the sound at both ends, and weighs what overlaps there.

    The start is reflected by the model too. Left out are, for a window of `n_fft` samples:
    - the first `n_fft / 2 - hop` samples (128 of the recorded ones), in which a window that would
      begin earlier is missing: the public form weighs the others the more, a stream fades in;
    - after the last of `1 + samples // hop` windows, where the next one would begin, less than
      `n_fft / 2` samples (192): a stream has a window there, of the input's reflection as well.
    """

    def model(self, vector: Vector) -> Separator:
        return importers.convert(vector.weights, "openunmix", _settings(vector))

    def comparable(self, vector: Vector, model: Separator) -> slice:
        samples, window, hop = vector.tensors["output"].shape[-1], model.params["window"], model.hop
        first = max(0, window // 2 - hop)
        return slice(first, min(samples, (1 + samples // hop) * hop - window // 2))

    def check_whole(self, vector: Vector) -> None:
        super().check_whole(Continued(vector.path, vector.metadata))

    def check_streamed(self, vector: Vector, seed: int) -> None:
        super().check_streamed(Continued(vector.path, vector.metadata), seed)

    def check_imported(self, vector: Vector, model: Separator) -> None:
        assert model.rate == int(vector.metadata["sample_rate"])
        mixture = Continued(vector.path, vector.metadata).mixture
        self.compare(vector, model, "imported", outside(model(mixture)).detach())

    def settings_file(self, vector: Vector, folder: Path) -> Path:
        """The hop is no argument of the class: with the file alone it would be a quarter window."""
        path = folder / "settings.json"
        path.write_text(json.dumps(_settings(vector)))
        return path


class SingleTarget(Centred):
    """One network; where its magnitudes are recorded, all their frames, those at the edges too."""

    def check_whole(self, vector: Vector) -> None:
        super().check_whole(vector)
        model = self.model(vector)
        analysis, networks = (_part(model, kind) for kind in (Spectrogram, TargetNetworks))
        mixture = analysis.segment(vector.mixture)
        magnitude = mixture.unflatten(-1, (-1, 2)).square().sum(-1).sqrt()
        masks = networks(mixture)[:, :, 0]
        for name, found in (("magnitude", magnitude), ("output_magnitude", masks * magnitude)):
            if name in vector.tensors:
                found = found.permute(0, 3, 2, 1)
                close(name, found, vector.tensors[name], vector.bound(name))


def _settings(vector: Vector) -> dict:
    beside = {"n_hop": "hop", "sample_rate": "sample_rate"}
    return {ours: int(vector.metadata[k]) for ours, k in beside.items()} | vector.config


def _part(model: Separator, kind: type):
    return next(layer for layer in model.modules() if isinstance(layer, kind))


FORMS = {
    "openunmix.model.OpenUnmix": SingleTarget(),
    "openunmix.model.Separator": Centred(),
}
