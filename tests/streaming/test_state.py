"""State as data: names, flattening, rows, and steps without masks once the sound has begun."""

from __future__ import annotations

import pytest
import torch

from rtsep.layers import LSTM, Conv, CumulativeLayerNorm, FrameLayerNorm
from rtsep.streaming import (
    Delay,
    Pointwise,
    Residual,
    Serial,
    StateSpec,
    StreamingLayer,
    select_rows,
    without_countdowns,
)


def chain() -> StreamingLayer:
    return Serial(
        Residual(Conv(3, 3, 5, padding=2)),
        FrameLayerNorm(3),
        CumulativeLayerNorm(3),
        LSTM(3, 4, layers=2),
        Pointwise(torch.sigmoid, (4,)),
    )


def test_names_tell_the_place() -> None:
    state, onset = chain().initial(2)
    assert onset == 2
    names = StateSpec.of(state).names
    assert names[0] == "0.branches.0.past"
    assert {"2.frames", "2.mean", "3.hidden", "3.cell", "4.countdown"} <= set(names)
    assert len(set(names)) == len(names)


def test_a_bare_tensor_has_a_name_too() -> None:
    assert StateSpec.of(torch.zeros(2)).names == ("value",)


def test_flatten_and_back() -> None:
    state, _ = chain().initial(2)
    spec = StateSpec.of(state)
    leaves = spec.flatten(state)
    again = spec.flatten(spec.unflatten(leaves))
    assert all(a is b for a, b in zip(leaves, again, strict=True))


def test_refuses_another_structure() -> None:
    spec = StateSpec.of(chain().initial(2)[0])
    with pytest.raises(ValueError, match="another structure"):
        spec.flatten({"past": torch.zeros(2)})
    with pytest.raises(ValueError, match="leaves given"):
        spec.unflatten([])


def test_every_leaf_has_the_batch_first_and_the_layers_type() -> None:
    state, _ = chain().double().initial(5)
    for leaf in StateSpec.of(state).flatten(state):
        assert leaf.shape[0] == 5
        assert leaf.dtype in (torch.float64, torch.int64)


def test_rows_are_chosen_one_by_one() -> None:
    old = {"a": torch.zeros(3, 2), "b": [torch.zeros(3)]}
    new = {"a": torch.ones(3, 2), "b": [torch.ones(3)]}
    mixed = select_rows(torch.tensor([True, False, True]), new, old)
    assert mixed["a"].tolist() == [[1, 1], [0, 0], [1, 1]]
    assert mixed["b"][0].tolist() == [1, 0, 1]


@torch.no_grad()
def test_without_countdowns_nothing_is_masked_and_nothing_changes() -> None:
    layer = chain()
    state, onset = layer.initial(2, 7)
    _, state = layer.step(torch.cat([torch.zeros(2, 7, 3), torch.randn(2, 20, 3)], 1), state)
    free = without_countdowns(state)
    assert onset == 9
    names = StateSpec.of(free).names
    assert len(names) < len(StateSpec.of(state).names)
    assert not any("countdown" in name for name in names)
    x = torch.randn(2, 9, 3)
    torch.testing.assert_close(layer.step(x, free)[0], layer.step(x, state)[0])


def test_no_onset_no_countdown() -> None:
    state, _ = Serial(Conv(3, 3, 5), LSTM(3, 4), FrameLayerNorm(4)).initial(2)
    assert not any("countdown" in name for name in StateSpec.of(state).names)


def test_delay_of_nothing() -> None:
    layer = Delay(0, (2,))
    x = torch.randn(1, 4, 2)
    y, _ = layer.step(x, layer.initial(1)[0])
    assert torch.equal(x, y)
