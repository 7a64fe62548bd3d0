"""HS-TasNet's public class."""

from __future__ import annotations

from parity.form import Form, close, outside, streamed, whole_hops
from parity.vectors import Vector
from rtsep.models.base import Separator


class HalfPadded(Form):
    """Half a window of zeros before the sound and after it.

    Where the hop is half a window, as recorded and as published, every sample can be compared. With
    a smaller one, the public form weighs the windows the more that are there, and left out are
    - the first `segment_len / 2 - overlap_len` samples, in which earlier windows are missing;
    - at the end, what later windows would reach: less than `segment_len / 2` samples.
    """

    def comparable(self, vector: Vector, model: Separator) -> slice:
        samples, window, hop = vector.tensors["output"].shape[-1], model.params["window"], model.hop
        first, last = max(0, window // 2 - hop), (1 + samples // hop) * hop - window // 2
        return slice(first, min(samples, last))

    def check_streamed(self, vector: Vector, seed: int) -> None:
        """Against the class's own streamer too, which is as late as ours."""
        super().check_streamed(vector, seed)
        if "streamed_output" not in vector.tensors:
            return
        model, expected = self.model(vector), vector.tensors["streamed_output"]
        length = expected.shape[-1] + model.latency
        y, _ = streamed(model, whole_hops(model, vector.mixture, length), seed)
        found = outside(y)[..., model.latency : expected.shape[-1]]
        close("streamer", found, expected[..., model.latency :], vector.bound())


FORMS = {"hs_tasnet.hs_tasnet.HSTasNet": HalfPadded()}
