"""Causal layer norms against loops over frames, and over hours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rtsep.layers import CumulativeLayerNorm, FrameLayerNorm, MovingMeanNorm
from rtsep.streaming import verify_streaming

quick = settings(max_examples=10, deadline=None)


def plain(x: Tensor, layer, cumulative: bool) -> Tensor:
    """Frame by frame, from all that a frame may see."""
    gain, bias = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
    y = np.empty(x.shape)
    for row, signal in enumerate(x.numpy()):
        for j in range(len(signal)):
            seen = signal[: j + 1] if cumulative else signal[j]
            y[row, j] = (signal[j] - seen.mean()) / np.sqrt(seen.var() + layer.eps) * gain + bias
    return torch.from_numpy(y)


def drawn(kind, channels: int, eps: float):
    layer = kind(channels, eps)
    torch.nn.init.normal_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    return layer


@pytest.mark.parametrize("kind", [FrameLayerNorm, CumulativeLayerNorm])
@quick
@given(st.integers(2, 6), st.sampled_from([1e-8, 1e-5, 0.1]), st.integers(0, 9), st.integers(0, 99))
def test_norm(kind, channels: int, eps: float, onset: int, seed: int) -> None:
    layer = drawn(kind, channels, eps)
    cumulative = kind is CumulativeLayerNorm
    report = verify_streaming(
        layer, onset=onset, seed=seed, twin=lambda x: plain(x, layer, cumulative)
    )
    assert report.measured_latency == 0


@pytest.mark.parametrize("kind", [FrameLayerNorm, CumulativeLayerNorm])
def test_in_float32(kind) -> None:
    verify_streaming(drawn(kind, 5, 1e-8), dtype=torch.float32)


@pytest.mark.parametrize("kind", [FrameLayerNorm, CumulativeLayerNorm])
def test_silence_is_finite(kind) -> None:
    y = drawn(kind, 4, 1e-8)(torch.zeros(1, 50, 4))
    assert torch.isfinite(y).all()


@pytest.mark.parametrize("frames", [10**5, 2**24 + 1, 10**9, 2**33])
@torch.no_grad()
def test_does_not_stall_after_hours(frames: int) -> None:
    """A day of 1 ms frames is 10^8: float32 sums no longer grow at 2^24, while their count does."""
    layer = drawn(CumulativeLayerNorm, 4, 1e-8)
    exact = drawn(CumulativeLayerNorm, 4, 1e-8).double()
    exact.load_state_dict({k: v.double() for k, v in layer.state_dict().items()})
    states = []
    for norm in (layer, exact):
        state, _ = norm.initial(1)
        dtype = state["mean"].dtype
        states.append(
            {
                "frames": torch.full((1, 1), frames),
                "mean": torch.full((1, 1), 0.25, dtype=dtype),
                "power": torch.full((1, 1), 1.5, dtype=dtype),
            }
        )
    random = torch.Generator().manual_seed(0)
    for _ in range(50):
        x = torch.randn(1, 20, 4, generator=random) + 0.25
        y, states[0] = layer.step(x, states[0])
        expected, states[1] = exact.step(x.double(), states[1])
        torch.testing.assert_close(y.double(), expected, rtol=1e-5, atol=1e-5)
    assert int(states[0]["frames"]) == frames + 1000


@torch.no_grad()
def test_still_follows_after_an_hour() -> None:
    """At 4 ms a frame: the level doubles, and the running power goes where it should."""
    layer = CumulativeLayerNorm(2)
    state, _ = layer.initial(1)
    state |= {"frames": torch.full((1, 1), 900_000), "power": torch.ones(1, 1)}
    loud = torch.tensor([2.0, -2.0]).expand(1, 5000, 2)
    for _ in range(20):
        _, state = layer.step(loud, state)
    expected = (900_000 * 1.0 + 100_000 * 4.0) / 1_000_000
    assert float(state["power"]) == pytest.approx(expected, rel=1e-4)


@pytest.fixture
def in_float64():
    """The powers of the decay keep the type they were made in; the loop's are exact."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def less_moving_mean(x: Tensor, span: float) -> Tensor:
    """Frame by frame, weighted sums of all frames so far."""
    y = np.empty(x.shape)
    for row, signal in enumerate(x.numpy()):
        for j in range(len(signal)):
            weights = np.exp((np.arange(j + 1) - j) / span)
            y[row, j] = signal[j] - np.average(signal[: j + 1], axis=0, weights=weights)
    return torch.from_numpy(y)


@pytest.mark.usefixtures("in_float64")
@settings(quick, max_examples=6)
@given(st.integers(1, 4), st.floats(0.5, 300), st.integers(1, 9), st.sampled_from([30, 300, 600]))
def test_moving_mean(channels: int, span: float, onset: int, frames: int) -> None:
    """Longer than the pieces it is computed in, too."""
    layer = MovingMeanNorm(channels, span)
    report = verify_streaming(
        layer, batch=2, hops=frames, onset=onset, twin=lambda x: less_moving_mean(x, span)
    )
    assert report.measured_latency == 0


@torch.no_grad()
def test_moving_mean_follows_for_ever() -> None:
    """After an hour at one level it still takes the level off, and a new level after a while."""
    layer = MovingMeanNorm(1, 250.0)
    state, _ = layer.initial(1)
    for _ in range(900):
        y, state = layer.step(torch.full((1, 1000, 1), 7.0), state)
    assert float(y.abs().max()) < 1e-4
    y, state = layer.step(torch.full((1, 2500, 1), 9.0), state)
    assert float(y[0, 0, 0]) == pytest.approx(2.0, abs=0.02)
    assert float(y[0, -1, 0]) == pytest.approx(0.0, abs=1e-3)
