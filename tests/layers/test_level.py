"""The level of late, against a plain loop over the blocks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rtsep.layers import Conv, ConvTranspose, Levelled, MovingMean
from rtsep.streaming import Pointwise, Serial, verify_streaming

BLOCK, SPAN, FLOOR = 4, 3.0, 0.1


@pytest.fixture(autouse=True)
def tables_in_float64():
    """Parameters are drawn in float64, which the plain loop computes in."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def plain(x: Tensor, inner) -> Tensor:
    decay, total, weight, levels = math.exp(-1 / SPAN), 0.0, 0.0, []
    for block in x.mean(-1).split(BLOCK, 1):
        total = decay * total + block.square().mean(1, keepdim=True)
        weight = decay * weight + 1
        levels.append((total / weight).sqrt().expand(-1, block.shape[1]))
    level = torch.cat(levels, 1)[..., None]
    return inner(x / (FLOOR + level)) * level


@pytest.mark.parametrize("padding", [None, 0])
@pytest.mark.parametrize("onset", [0, 3, 8])
def test_levelled(padding: int | None, onset: int) -> None:
    inner = Serial(Conv(2, 5, 8, 4, padding=padding), ConvTranspose(5, 2, 8, 4))
    layer = Levelled(inner, BLOCK, SPAN, FLOOR)
    report = verify_streaming(layer, onset=onset, twin=lambda x: plain(x, inner))
    assert report.measured_latency == inner.initial(1)[1]


def test_level_is_given_back() -> None:
    """What passes its input on, and a floor far below the sound: nothing changes."""
    layer = Levelled(Pointwise(torch.clone, (1,)), 1, 50.0, 1e-7)
    x = torch.randn(1, 300, 1) * torch.linspace(0.01, 1, 300)[None, :, None]
    torch.testing.assert_close(layer(x), x, rtol=1e-3, atol=1e-6)


def test_silence() -> None:
    layer = Levelled(Pointwise(torch.cos, (1,)), 1, 50.0, 1e-4)
    assert not layer(torch.zeros(1, 100, 1)).any()


def test_blocks_must_fit() -> None:
    with pytest.raises(ValueError, match="blocks of 3"):
        Levelled(Conv(1, 1, 4, 4), 3, SPAN, FLOOR)


def test_moving_mean() -> None:
    def twin(x: Tensor) -> Tensor:
        decay, total, weight, means = math.exp(-1 / SPAN), 0.0, 0.0, []
        for frame in x.unbind(1):
            total, weight = decay * total + frame, decay * weight + 1
            means.append(total / weight)
        return torch.stack(means, 1)

    verify_streaming(MovingMean(3, SPAN), hops=300, onset=3, twin=twin)
