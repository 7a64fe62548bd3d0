"""U-Net's public class, centred: on the segment, in blocks, and streamed by its look-ahead."""

from __future__ import annotations

import torch

from parity.blocks import check_in_blocks
from parity.form import Form, close, outside, streamed, whole_hops
from parity.vectors import Vector
from rtsep import create
from rtsep.checkpoints import importers
from rtsep.models.base import Separator


class Centred(Form):
    """Each layer pads both its ends, so a segment's end reaches as far back as the network looks.

    The segment's own output is compared whole. A stream goes on where the segment ends: there the
    samples can agree that see no frame which the segment's end had reflected or zeros after it.
    """

    def model(self, vector: Vector) -> Separator:
        return importers.convert(vector.weights, "unet", vector.config | _transform(vector))

    def check_whole(self, vector: Vector) -> None:
        model = self.model(vector)
        found = model.network.segment(vector.mixture)
        close("whole", outside(found), vector.tensors["output"], vector.bound())

    def check_streamed(self, vector: Vector, seed: int) -> None:
        model = self.model(vector)
        check_in_blocks(vector, model, seed)
        kept, samples = _seen_within(vector, model), vector.mixture.shape[1]
        if not kept:  # the network looks further ahead than the segment is long
            return
        x = whole_hops(model, vector.mixture, samples + model.latency)
        y, _ = streamed(model, x, seed)
        found = outside(y)[..., model.latency : model.latency + kept]
        close("streamed", found, vector.tensors["output"][..., :kept], vector.bound())

    def check_look_ahead(self, vector: Vector) -> None:
        """As late as it takes for every frame to come after all that it sees; not a frame more."""
        model = self.model(vector)
        p = model.params
        late = (model.latency - (p["window"] - p["hop"])) // p["hop"]
        assert _late_enough(model, late) and not _late_enough(model, late - 1)
        ahead = int(vector.metadata["measured_lookahead_samples"])
        assert ahead < model.latency + model.hop

    def check_imported(self, vector: Vector, model: Separator) -> None:
        """The files do not tell the spectrum."""
        transform = self.model(vector).params
        spectrum = {k: transform[k] for k in ("window", "hop", "padding")}
        assert model.rate == int(vector.metadata["sample_rate"])
        same = create("unet", **(model.params | spectrum)).eval()
        same.load_state_dict(model.state_dict())
        with torch.no_grad():
            found = outside(same.network.segment(vector.mixture))
        close("imported", found, vector.tensors["output"], vector.bound())


def _transform(vector: Vector) -> dict:
    """What the metadata leaves out, by the sizes of what was recorded."""
    frames, bins = vector.tensors["magnitude"].shape[-2:]
    return {
        "sample_rate": int(vector.metadata["sample_rate"]),
        "n_fft": 2 * (bins - 1),
        "hop_length": vector.tensors["output"].shape[-1] // (frames - 1),
    }


def _last_seen(model: Separator, frame: int) -> int:
    """The last frame of the spectrum on which a mask of this frame depends."""
    p = model.params
    kernel, stride = p["kernel"][0], p["stride"][0]
    aside = (kernel - stride + 1) // 2
    for _ in range(p["layers"]):
        frame = (frame + aside) // stride
    for _ in range(p["layers"]):
        frame = frame * stride + kernel - 1 - aside
    return frame


def _late_enough(model: Separator, late: int) -> bool:
    """Whether a stream, `late` frames behind, has heard in time what each frame depends on."""
    step = model.params["stride"][0] ** model.params["layers"]
    return all(
        _last_seen(model, frame) < (frame + late) // step * step + step for frame in range(step)
    )


def _seen_within(vector: Vector, model: Separator) -> int:
    """Samples whose frames see no frame with a part of the end's reflection."""
    p = model.params
    samples = vector.mixture.shape[1]
    whole = 1 + (samples - p["window"] // 2) // p["hop"]
    masks = 0
    while _last_seen(model, masks) < whole:
        masks += 1
    # A sample hears every window that covers it.
    return max(0, (masks * p["hop"]) - p["window"] // 2)


FORMS = {"models.unet_model.UNET": Centred()}
