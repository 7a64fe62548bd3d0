"""nussl's recurrent separators."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from parity.form import Form, close, streamed, whole_hops
from parity.vectors import Vector
from rtsep.checkpoints import importers
from rtsep.layers.features import power
from rtsep.models.base import Separator
from rtsep.models.spectral import Head, SpectralSeparator
from rtsep.streaming import Pointwise, Serial


class Spectral(Form):
    """Centred windows in silence: scipy's transform, which adds no window before the first.

    Frames are compared all of them. Of the sound are left out, for a window of `W` samples:
    - nothing at the start: in the first `W / 2 - hop` samples (64 of the recorded ones) the public
      form weighs the more what windows there are, and the weight is taken out of it again;
    - after the last window, where the next one would begin, less than a hop (3 samples): a stream
      has a window there.
    """

    def model(self, vector: Vector) -> SpectralSeparator:
        return importers.convert(vector.weights, "nussl", _settings(vector))

    def settings_file(self, vector: Vector, folder: Path) -> Path:
        """The hop is no argument of the network: the file alone would leave a quarter window."""
        path = folder / "settings.json"
        path.write_text(json.dumps(_settings(vector)))
        return path

    def comparable(self, vector: Vector, model: Separator) -> slice:
        frames, window = vector.tensors["magnitude"].shape[1], model.params["window"]
        samples = vector.tensors["output"].shape[-1]
        return slice(0, min(samples, frames * model.hop - window // 2))

    def compare(self, vector: Vector, model: Separator, what: str, found: Tensor) -> None:
        where = self.comparable(vector, model)
        expected = vector.tensors["output"][..., where] * _share(model, where.stop)
        assert found.shape[-1] >= where.stop, f"{what}: {found.shape[-1]} samples of {where.stop}"
        close(what, found[..., where], expected, vector.bound())

    def check_whole(self, vector: Vector) -> None:
        if "output" in vector.tensors:
            super().check_whole(vector)
        self._frames(vector, self.model(vector), None)

    def check_streamed(self, vector: Vector, seed: int) -> None:
        if "output" in vector.tensors:
            super().check_streamed(vector, seed)
        self._frames(vector, self.model(vector), seed)

    def check_imported(self, vector: Vector, model: Separator) -> None:
        if "output" in vector.tensors:
            super().check_imported(vector, model)
        assert model.rate == int(vector.metadata["sample_rate"])
        self._frames(vector, model, None)

    @torch.no_grad()
    def _frames(self, vector: Vector, model: SpectralSeparator, seed: int | None) -> None:
        """The spectrum, the masks and the embeddings, in one step where `seed` is None."""
        layers = {"magnitude": model.spectrogram}
        if "mask" in vector.tensors:
            layers["mask"] = _masker(model)
        if "embedding" in vector.tensors:
            layers["embedding"] = model.embedder
        for name, layer in layers.items():
            expected = vector.tensors[name]
            onset = layer.initial(1)[1]
            x = whole_hops(model, vector.mixture, (expected.shape[1] + onset) * model.hop)
            if seed is None:
                y, _ = layer.step(x, layer.initial(x.shape[0])[0])
            else:
                y, _ = streamed(layer, x, seed)
            y = y[:, onset:]
            if name == "magnitude":
                y = power(y).sqrt().unflatten(-1, (model.bins, -1)) * model.scale
            elif name == "mask":
                y = y.permute(0, 1, 3, 4, 2)
            close(name, y, expected, vector.bound(name))


def _share(model: Separator, samples: int) -> Tensor:
    """Of the overlapping squares of all windows, the part that those from the first on make up."""
    window, hop = model.params["window"], model.hop
    square = torch.hann_window(window, dtype=torch.float64)
    there, earlier = torch.zeros(2, window + samples, dtype=torch.float64)
    for frame in range(-window // hop, (window + samples) // hop):
        start = frame * hop - window // 2
        first, last = max(start, 0), min(start + window, window + samples)
        if first < last:
            (earlier if frame < 0 else there)[first:last] += square[first - start : last - start]
    return (there / (there + earlier))[:samples].float()


def _masker(model: SpectralSeparator) -> Serial:
    head = next(
        layer
        for layer in model.modules()
        if isinstance(layer, Pointwise) and type(layer.function) is Head
    )
    return Serial(model.spectrogram, model.trunk, head)


def _settings(vector: Vector) -> dict:
    beside = {"hop_length": "hop", "sample_rate": "sample_rate"}
    return {ours: int(vector.metadata[k]) for ours, k in beside.items()} | vector.config


FORMS = {
    f"nussl.ml.SeparationModel via builders.build_recurrent_{kind}": Spectral()
    for kind in ("mask_inference", "dpcl", "chimera")
}
