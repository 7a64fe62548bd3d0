"""Networks side by side against torch's own, one by one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rtsep.layers import ParallelLinear, ParallelLSTM
from rtsep.streaming import Pointwise, verify_streaming


@settings(max_examples=8, deadline=None)
@given(
    st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(1, 3), st.integers(0, 9)
)
def test_lstm(groups: int, inputs: int, units: int, layers: int, onset: int) -> None:
    layer = ParallelLSTM(groups, inputs, units, layers)

    def twin(x: Tensor) -> Tensor:
        outputs = []
        for group in range(groups):
            plain = torch.nn.LSTM(inputs, units, layers, batch_first=True).double()
            plain.load_state_dict({k: v[group].double() for k, v in layer.state_dict().items()})
            outputs.append(plain(x[:, :, group])[0])
        return torch.stack(outputs, 2)

    report = verify_streaming(layer, onset=onset, twin=twin)
    assert report.measured_latency == 0


def test_lstm_in_float32() -> None:
    verify_streaming(ParallelLSTM(2, 3, 4, 2), dtype=torch.float32)


@torch.no_grad()
def test_nothing_is_remembered_of_the_time_before_the_onset() -> None:
    layer = ParallelLSTM(2, 3, 4, 2)
    state, _ = layer.initial(2, onset=6)
    y, state = layer.step(100 * torch.randn(2, 6, 2, 3), state)
    assert not y.any()
    assert not state["hidden"].any() and not state["cell"].any()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("norm", [True, False])
def test_linear(bias: bool, norm: bool) -> None:
    groups, inputs, outputs = 3, 4, 5
    layer = ParallelLinear(groups, inputs, outputs, bias=bias, norm=norm)
    plain = []
    for group in range(groups):
        linear = torch.nn.Linear(inputs, outputs, bias=bias)
        linear.weight.data = layer.weight.data[group]
        if bias:
            linear.bias.data = layer.bias.data[group]
        plain.append(torch.nn.Sequential(linear, *[torch.nn.BatchNorm1d(outputs)] * norm))
        if norm:
            # Other than what they start with, in both forms.
            for name in ("weight", "bias", "running_mean", "running_var"):
                drawn = torch.rand(outputs) + 0.5
                getattr(plain[-1][1], name).data = drawn
                whole = getattr(layer.norm, name).data
                whole[group * outputs : (group + 1) * outputs] = drawn
    x = torch.randn(2, 7, groups, inputs)

    def expected() -> Tensor:
        rows = [one(x[:, :, group].flatten(0, 1)) for group, one in enumerate(plain)]
        return torch.stack(rows, 1).unflatten(0, (2, 7))

    torch.testing.assert_close(layer(x), expected())
    for one in (layer, *plain):
        one.eval()
    torch.testing.assert_close(layer(x), expected())
    verify_streaming(Pointwise(layer, (groups, inputs), (groups, outputs)))
