"""The judge is judged: it passes what keeps the contract and catches each way to break it."""

from __future__ import annotations

import pytest
import torch

from rtsep.layers import LSTM, Conv, CumulativeLayerNorm
from rtsep.streaming import Pointwise, Serial, StreamingError, StreamingLayer, verify_streaming


def caught(layer: StreamingLayer, by: str, **options) -> None:
    with pytest.raises(StreamingError) as error:
        verify_streaming(layer, **options)
    assert str(error.value).startswith(by), error.value


class Plain(StreamingLayer):
    """The sum of a frame and the one before: right, and the base of what is wrong below."""

    inputs = outputs = (3,)

    def initial(self, batch, onset=0):
        return {"past": self.zeros(batch, 1, 3)}, onset

    def step(self, x, state):
        joined = torch.cat([state["past"], x], 1)
        return self.combine(joined), {"past": self.remember(joined)}

    def combine(self, joined):
        return joined[:, 1:] + joined[:, :-1]

    def remember(self, joined):
        return joined[:, -1:]


def plain_twin(x):
    return x + torch.nn.functional.pad(x, (0, 0, 1, 0))[:, :-1]


def test_passes_what_is_right() -> None:
    report = verify_streaming(Plain(), twin=plain_twin)
    assert report.measured_latency == report.declared_latency == 0
    assert report.error < 1e-14
    checks = "splits rows reset pause causality look-ahead onset twin".split()
    assert set(checks) <= set(report.errors)


def test_passes_in_float32() -> None:
    assert 0 <= verify_streaming(Plain(), dtype=torch.float32, twin=plain_twin).error <= 1e-5


def test_catches_a_peek_ahead() -> None:
    class Peeks(Plain):
        def combine(self, joined):
            return joined[:, 1:] + torch.cat([joined[:, 2:], joined[:, -1:]], 1)

    caught(Peeks(), "splits")


def test_catches_a_peek_over_the_whole_signal() -> None:
    """An offline form that looks further ahead than the stream can."""

    class Normalises(Plain):
        def forward(self, x):
            return super().forward(x) / x.abs().max()

    caught(Normalises(), "look-ahead")


def test_catches_mixed_rows() -> None:
    class Mixes(Plain):
        def combine(self, joined):
            return super().combine(joined) - joined[:, 1:].mean(0, keepdim=True)

    caught(Mixes(), "rows")


@pytest.mark.parametrize("wrong", [-1, 1])
def test_catches_a_latency_that_is_off_by_one(wrong: int) -> None:
    """Even where onset and mask agree with each other: the twin alone knows public time."""
    layer = Conv(3, 2, kernel=7, padding=2)
    layer.padding -= wrong
    caught(layer, f"latency: {4 + wrong} declared, 4 measured", hops=40, twin=valid_twin(layer))


@pytest.mark.parametrize("wrong", [-1, 1])
def test_catches_an_onset_that_its_mask_does_not_keep(wrong: int) -> None:
    class Declares(Conv):
        def initial(self, batch, onset=0):
            state, out = super().initial(batch, onset)
            return state, out + wrong

    layer = Declares(3, 2, kernel=7, padding=2)
    with pytest.raises(StreamingError):
        verify_streaming(layer, hops=40, twin=valid_twin(layer))


def valid_twin(layer: Conv):
    """The public form with a padding of 2."""

    def twin(x):
        padded = torch.nn.functional.pad(x.transpose(1, 2), (2, layer.kernel))
        y = torch.nn.functional.conv1d(padded, layer.weight.double(), layer.bias.double())
        return y.transpose(1, 2)[:, : x.shape[1]]

    return twin


def test_catches_a_frame_forgotten_at_a_split() -> None:
    class Forgets(Plain):
        def remember(self, joined):
            return torch.zeros_like(joined[:, -1:])

    caught(Forgets(), "splits")


def test_catches_statistics_touched_before_the_onset() -> None:
    class Counts(CumulativeLayerNorm):
        def normalise(self, x, memory, live):
            return super().normalise(x, memory, None)

    layer = Counts(3)
    torch.nn.init.normal_(layer.bias)
    caught(layer, "onset")


def test_catches_a_recurrence_touched_before_the_onset() -> None:
    class Runs(LSTM):
        def _gate(self, x, state):
            return None

    caught(Runs(3, 4), "before onset")


def test_catches_sound_before_the_onset() -> None:
    class Speaks(Plain):
        def combine(self, joined):
            return super().combine(joined).sigmoid()

    caught(Speaks(), "before onset")
    verify_streaming(Pointwise(torch.sigmoid, (3,)), twin=torch.sigmoid)


def test_catches_a_state_changed_in_place() -> None:
    class Mutates(Plain):
        def step(self, x, state):
            y, following = super().step(x, state)
            state["past"].add_(1)
            return y, following

    caught(Mutates(), "state: a step changed")


def test_catches_a_changed_type() -> None:
    class Narrows(Plain):
        def combine(self, joined):
            return super().combine(joined).float()

    class NarrowsItsState(Plain):
        def remember(self, joined):
            return super().remember(joined).float()

    caught(Narrows(), "type")
    caught(NarrowsItsState(), "state: past went from")


def test_catches_a_state_that_grows() -> None:
    class Grows(Plain):
        def remember(self, joined):
            return joined[:, -2:]

        def combine(self, joined):
            return joined[:, 1:][:, -(joined.shape[1] - 1) :]

    caught(Grows(), "state: past went from")


def test_catches_a_wrong_number_of_frames() -> None:
    class Drops(Plain):
        def combine(self, joined):
            return super().combine(joined)[:, 1:]

    caught(Drops(), "shape")


def test_catches_memory_outside_the_state() -> None:
    class Remembers(Plain):
        calls = 0

        def combine(self, joined):
            self.calls += 1
            return super().combine(joined) + self.calls

    with pytest.raises(StreamingError):
        verify_streaming(Remembers())


def test_catches_another_function() -> None:
    caught(Plain(), "twin", twin=lambda x: 1.001 * plain_twin(x))


def test_catches_what_is_not_finite() -> None:
    class Breaks(Plain):
        def combine(self, joined):
            return super().combine(joined) * float("nan")

    with pytest.raises(StreamingError):
        verify_streaming(Breaks())


def test_finds_a_fault_deep_inside() -> None:
    class Forgets(Plain):
        def remember(self, joined):
            return joined[:, -1:] * 0.999

    caught(Serial(Pointwise(torch.tanh, (3,)), Forgets(), Plain()), "splits")


def test_needs_rows_and_hops() -> None:
    with pytest.raises(ValueError, match="at least 2 and 4"):
        verify_streaming(Plain(), batch=1)
