"""The LSTM against torch's own."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rtsep.layers import LSTM
from rtsep.streaming import verify_streaming


def plain(layer: LSTM, inputs: int) -> torch.nn.LSTM:
    """torch's module with the same parameters, whose names are the same."""
    twin = torch.nn.LSTM(inputs, layer.units, layer.depth, batch_first=True).double()
    twin.load_state_dict({k: v.double() for k, v in layer.state_dict().items()})
    return twin


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 3), st.integers(0, 9))
def test_lstm(inputs: int, units: int, layers: int, onset: int) -> None:
    layer = LSTM(inputs, units, layers)
    twin = plain(layer, inputs)
    report = verify_streaming(layer, onset=onset, twin=lambda x: twin(x)[0])
    assert report.measured_latency == 0


def test_in_float32() -> None:
    verify_streaming(LSTM(3, 4, 2), dtype=torch.float32)


@torch.no_grad()
def test_nothing_is_remembered_of_the_time_before_the_onset() -> None:
    """Whatever lies there: the gate is shut to an exact zero."""
    layer = LSTM(3, 4, 2)
    state, _ = layer.initial(2, onset=6)
    y, state = layer.step(100 * torch.randn(2, 6, 3), state)
    assert not y.any()
    assert not state["hidden"].any() and not state["cell"].any()
