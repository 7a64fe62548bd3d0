"""Transforms in one round and in two, against torch's."""

from __future__ import annotations

import pytest
import torch

from rtsep.layers import InverseSpectrogram, Spectrogram
from rtsep.layers.fourier import Fourier, InverseFourier
from rtsep.streaming import Serial, verify_streaming


@pytest.fixture(scope="module", autouse=True)
def windows_in_float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


# Short, a prime, and composed: even, odd, of equal and of unequal factors.
@pytest.mark.parametrize("window", [2, 15, 256, 512, 521, 513, 600, 768, 1024])
def test_equals_torch(window: int) -> None:
    taper, x = torch.rand(window), torch.randn(2, 3, window)
    spectrum = torch.fft.rfft(x * taper)
    parts = torch.stack([spectrum.real, spectrum.imag], -2)
    torch.testing.assert_close(Fourier(taper)(x), parts, rtol=0, atol=1e-12)
    for heard in {1, window // 3 + 1, window}:
        weights = torch.rand(heard)
        back = InverseFourier(window, weights)(parts)
        expected = (x * taper)[..., window - heard :] * weights
        torch.testing.assert_close(back, expected, rtol=0, atol=1e-12)


def test_parts_of_any_spectrum() -> None:
    """The imaginary parts of the outermost bins count for nothing, as in torch's."""
    parts = torch.randn(4, 2, 301)
    expected = torch.fft.irfft(torch.complex(parts[:, 0], parts[:, 1]), 600)
    torch.testing.assert_close(InverseFourier(600, torch.ones(600))(parts), expected)


def test_two_rounds_are_cheaper() -> None:
    for layer in (Fourier(torch.ones(4096)), InverseFourier(4096, torch.ones(4096))):
        assert sum(buffer.numel() for buffer in layer.buffers()) < 4096 * 4098 / 30


@pytest.mark.parametrize("synthesis", [None, 300])
def test_streams(synthesis: int | None) -> None:
    form = {"window": 600, "hop": 150, "synthesis": synthesis, "channels": 2}
    pair = Serial(Spectrogram(**form), InverseSpectrogram(**form))
    report = verify_streaming(pair, hops=8, twin=lambda x: x)
    assert report.measured_latency == (synthesis or 600) - 150


def test_autocast_leaves_it_exact() -> None:
    torch.set_default_dtype(torch.float32)
    try:
        for window in (256, 1024):
            forth, back = Fourier(torch.ones(window)), InverseFourier(window, torch.ones(window))
            x = torch.randn(3, window)
            with torch.autocast("cpu", torch.bfloat16):
                torch.testing.assert_close(back(forth(x)), x)
    finally:
        torch.set_default_dtype(torch.float64)
