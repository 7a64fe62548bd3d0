"""Filters within a network, against plain sums and against what they are for."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rtsep.layers import Resample, doubled, halved
from rtsep.streaming import Serial, verify_streaming


def plain(x: Tensor, layer: Resample) -> Tensor:
    """Sample by sample: every filter at every position."""
    old, taps = layer.hop, layer.taps
    padded = F.pad(x, (0, 0, layer.padding, taps))
    places = [padded[:, j * old : j * old + taps] for j in range(x.shape[1] // old)]
    return torch.cat([torch.einsum("btc,nt->bnc", p, layer.filters.to(p)) for p in places], 1)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 9), st.data(), st.integers(0, 7))
def test_any_bank(new: int, old: int, more: int, data, onset: int) -> None:
    taps = old + more
    padding = data.draw(st.integers(0, more))
    layer = Resample(torch.randn(new, taps), old, padding, 2)
    report = verify_streaming(layer, hops=40, onset=onset, twin=lambda x: plain(x, layer))
    assert report.measured_latency == -(-(more - padding) // old) * new


def test_there_and_back() -> None:
    """What lies well below half the rate survives; the latency is the filters' and no more."""
    pair = Serial(doubled(1), halved(1))
    report = verify_streaming(pair, hops=200)
    assert report.declared_latency == 56 + 55
    time = torch.arange(2000)[None, :, None]
    tone = torch.cos(2 * math.pi * 0.2 * time)
    torch.testing.assert_close(pair(tone)[:, 200:-200], tone[:, 200:-200], atol=1e-4, rtol=0)


@pytest.mark.parametrize("layer", [doubled(2), halved(2)], ids=["doubled", "halved"])
def test_in_float32(layer: Resample) -> None:
    verify_streaming(layer, hops=200, dtype=torch.float32)


def test_halved_keeps_out_what_would_fold_back() -> None:
    high = torch.cos(2 * math.pi * 0.35 * torch.arange(2000))[None, :, None]
    assert halved(1)(high)[:, 200:-200].abs().max() < 1e-3
