"""Conv-TasNet's public classes."""

from __future__ import annotations

from parity.form import Form, close, outside, streamed, whole_hops
from parity.vectors import Vector
from rtsep.models.base import Separator
from rtsep.streaming import StateSpec


class Unpadded(Form):
    """A class whose encoder does not pad: its output ends with its last full window.

    After that come only the zeros with which it fills up its output to the input's length. The end
    of that window, to which a stream would add further windows, is what the decoder still holds.
    """

    def comparable(self, vector: Vector, model: Separator) -> slice:
        return slice(0, last_window(vector, model)[0] * model.params["stride"])

    def check_whole(self, vector: Vector) -> None:
        super().check_whole(vector)
        self._check_end(vector, None)

    def check_streamed(self, vector: Vector, seed: int) -> None:
        super().check_streamed(vector, seed)
        self._check_end(vector, seed)

    def _check_end(self, vector: Vector, seed: int | None) -> None:
        """Stops the stream with the last full window: in one step where `seed` is None."""
        model, expected = self.model(vector), vector.tensors["output"]
        frames, window_end = last_window(vector, model)
        assert expected.shape[-1] - window_end < model.params["stride"]
        assert not expected[..., window_end:].any()
        x = whole_hops(model, vector.mixture, frames * model.hop + model.latency)
        if seed is None:
            _, state = model.step(x, model.initial(x.shape[0])[0])
        else:
            _, state = streamed(model, x, seed)
        spec = StateSpec.of(state)
        held = dict(zip(spec.names, spec.flatten(state), strict=True))
        (tail,) = (value for name, value in held.items() if name.endswith("tail"))
        first = frames * model.params["stride"]
        # Where the windows don't overlap, nothing is held.
        if first < window_end:
            close("end", outside(tail), expected[..., first:window_end], vector.bound())


def last_window(vector: Vector, model: Separator) -> tuple[int, int]:
    """How many full windows an encoder that does not pad finds, and where the last one ends."""
    kernel, stride = model.params["kernel"], model.params["stride"]
    frames = (vector.mixture.shape[1] - kernel) // stride + 1
    return frames, (frames - 1) * stride + kernel


FORMS = {
    "asteroid.models.ConvTasNet": Unpadded(
        stride=8, n_blocks=8, norm_type="cLN", mask_act="sigmoid", sample_rate=8000
    ),
    "conv_tasnet.TasNet": Form(sr=16000, layer=8),
    "recipes.cad2.task1.ConvTasNet.local.tasnet.ConvTasNetStereo": Unpadded(
        samplerate=44100, mask_nonlinear="relu"
    ),
}
