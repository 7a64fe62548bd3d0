"""Layers made of layers align by themselves: compared in public time with plain code."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rtsep.layers import Conv, ConvTranspose, MixtureConsistency
from rtsep.streaming import Delay, Fork, Pointwise, Residual, Serial, Skip, verify_streaming

quick = settings(max_examples=10, deadline=None)


def conv(x: Tensor, layer: Conv, stride: int = 1) -> Tensor:
    """(batch, frames, channels), the layer's weights in torch's own convolution."""
    right = (layer.kernel - 1) * layer.dilation + stride
    padded = F.pad(x.transpose(1, 2), (layer.padding, right))
    weight, bias = layer.weight.double(), layer.bias.double()
    y = F.conv1d(padded, weight, bias, stride=stride, dilation=layer.dilation)
    return y.transpose(1, 2)[:, : x.shape[1] // stride]


@quick
@given(st.integers(0, 9), st.integers(0, 6), st.integers(0, 99))
def test_delay(frames: int, onset: int, seed: int) -> None:
    report = verify_streaming(
        Delay(frames, (2,)), hops=40, onset=onset, seed=seed, twin=lambda x: x
    )
    assert report.measured_latency == frames


@quick
@given(st.sampled_from([torch.sigmoid, torch.tanh, torch.cos]), st.integers(0, 6))
def test_pointwise(function, onset: int) -> None:
    verify_streaming(Pointwise(function, (3,)), onset=onset, twin=function)


def test_pointwise_with_a_bias() -> None:
    linear = torch.nn.Linear(3, 5)
    weight, bias = linear.weight.double(), linear.bias.double()
    verify_streaming(
        Pointwise(linear, (3,), (5,)), twin=lambda x: torch.einsum("btc,oc->bto", x, weight) + bias
    )


@quick
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3)), min_size=1, max_size=4))
def test_serial(sizes: list[tuple[int, int]]) -> None:
    """Centred and valid convolutions, one after the other: their latencies add up."""
    layers = []
    for index, (kernel, dilation) in enumerate(sizes):
        span = (kernel - 1) * dilation
        layers.append(Conv(2, 2, kernel, dilation=dilation, padding=span // 2 if index % 2 else 0))

    def twin(x: Tensor) -> Tensor:
        for layer in layers:
            # Beyond the end there is silence at the input, but a bias after the first layer.
            x = conv(F.pad(x, (0, 0, 0, 20)), layer)
        return x[:, :70]

    report = verify_streaming(Serial(*layers), hops=70, twin=twin)
    assert report.measured_latency == sum(
        (layer.kernel - 1) * layer.dilation - layer.padding for layer in layers
    )


def test_serial_of_nothing_is_the_input() -> None:
    x = torch.randn(1, 4, 2)
    assert torch.equal(Serial()(x), x)


@quick
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 3))
def test_serial_counts_its_hop(down: int, then: int, extra: int) -> None:
    layer = Serial(
        Conv(2, 3, down + extra, down),
        Conv(3, 3, then + extra, then),
        ConvTranspose(3, 2, then, then),
    )
    assert layer.ratio == Fraction(1, down)
    assert layer.hop == down * then
    verify_streaming(layer)


@quick
@given(st.integers(1, 5), st.integers(1, 3), st.booleans(), st.integers(0, 6))
def test_residual(kernel: int, dilation: int, causal: bool, onset: int) -> None:
    inner = Conv(3, 3, kernel, dilation=dilation, padding=None if causal else 0)
    report = verify_streaming(
        Residual(inner), hops=40, onset=onset, twin=lambda x: x + conv(x, inner)
    )
    assert report.measured_latency == (0 if causal else (kernel - 1) * dilation)


@quick
@given(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4), st.integers(0, 5))
def test_fork(first: int, second: int, third: int, onset: int) -> None:
    """Branches of other latencies meet, whichever is the latest."""
    branches = [Conv(2, 3, late + 1, padding=0) for late in (first, second, third)]
    fork = Fork(branches, lambda a, b, c: torch.cat([a * b, c.cos()], -1), (6,))

    def twin(x: Tensor) -> Tensor:
        a, b, c = (conv(x, branch) for branch in branches)
        return torch.cat([a * b, c.cos()], -1)

    report = verify_streaming(fork, hops=40, onset=onset, twin=twin)
    assert report.measured_latency == max(first, second, third)


def test_fork_wants_one_ratio() -> None:
    with pytest.raises(ValueError, match="one ratio"):
        Fork([Conv(2, 2, 2, 2), Conv(2, 2, 2)], torch.add)


@quick
@given(st.integers(1, 3), st.sampled_from([None, 0, 1, 2]), st.integers(1, 5), st.integers(0, 5))
def test_mixture_consistency(channels: int, to: int | None, kernel: int, onset: int) -> None:
    """Whatever the network gives and however late it is, the stems sum to the mixture."""
    estimates = 3 if to is None else 2
    inner = Conv(channels, estimates * channels, kernel, padding=0)
    shape = (estimates, channels)
    network = Serial(
        inner, Pointwise(lambda x: x.unflatten(-1, shape), (estimates * channels,), shape)
    )
    layer = Skip(network, MixtureConsistency(to), (3, channels))

    def twin(x: Tensor) -> Tensor:
        stems = list(conv(x, inner).unflatten(-1, shape).unbind(-2))
        missing = x - sum(stems)
        if to is None:
            stems = [stem + missing / 3 for stem in stems]
        else:
            stems.insert(to, missing)
        return torch.stack(stems, -2)

    report = verify_streaming(layer, hops=30, onset=onset, twin=twin)
    assert report.measured_latency == kernel - 1
    x = torch.randn(2, 30, channels)
    torch.testing.assert_close(layer(x).sum(-2), x)
