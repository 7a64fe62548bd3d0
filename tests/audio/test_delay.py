"""Delays that are known are found, between samples too; what is no such sound is refused."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from rtsep import demo
from rtsep.audio.delay import locate
from rtsep.audio.sweep import sweep

RATE, LONGEST, GUARD = 48000, 48000, 480
TONE = sweep(RATE, 0.5).astype(float)


def late(x: np.ndarray, delay: float, n: int) -> np.ndarray:
    """x (m,) delayed by a fraction of samples, exactly (circular in n samples)."""
    spectrum = np.fft.rfft(x, n) * np.exp(-2j * np.pi * np.fft.rfftfreq(n) * delay)
    return np.fft.irfft(spectrum, n)


@settings(max_examples=15, deadline=None)
@given(
    delay=st.floats(0, LONGEST - 1),
    gain=st.sampled_from([1.0, -0.5, 0.01]),
    noise=st.sampled_from([0.0, 0.01, 1.0]),
)
def test_a_delay_is_found_between_samples(delay, gain, noise):
    """In noise as loud as the sweep too."""
    y = gain * late(TONE, delay, len(TONE) + LONGEST)
    y += noise * abs(gain) * np.random.default_rng(3).standard_normal(len(y))
    match = locate(TONE, y, LONGEST, GUARD)
    assert match.sure
    assert abs(match.delay - delay) < (0.01 if noise < 1 else 0.1)
    assert abs(match.gain - gain) < 0.05 * abs(gain)


def test_echoes_and_a_dull_path_do_not_move_it():
    """The direct sound is the loudest; the path lets nothing through above 4 kHz."""
    y = late(TONE, 1234.5, len(TONE) + LONGEST)
    y += 0.5 * np.roll(y, 300) + 0.3 * np.roll(y, 777)
    spectrum = np.fft.rfft(y)
    spectrum[np.fft.rfftfreq(len(y), 1 / RATE) > 4000] = 0
    match = locate(TONE, np.fft.irfft(spectrum, len(y)), LONGEST, GUARD)
    assert match.sure and abs(match.delay - 1234.5) < 0.1


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["noise", "hum", "street", "restaurant", "guitar", "silence"])
def test_nonsense_is_refused(kind, seed):
    n = len(TONE) + LONGEST
    if kind == "silence":
        y = np.zeros(n)
    elif kind == "noise":
        y = np.random.default_rng(seed).standard_normal(n)
    elif kind == "hum":
        y = np.sin(2 * np.pi * 50 * (seed + 1) * np.arange(n) / RATE)
    else:
        sound, rate = soundfile.read(demo.path(kind))
        sound = sound if sound.ndim == 1 else sound[:, 0]
        y = soxr.resample(sound, rate, RATE)[seed * RATE :][:n]
    assert not locate(TONE, y, LONGEST, GUARD).sure


@pytest.mark.parametrize("rate", [8000, 44100, 96000])
def test_the_sweep_fits_any_rate(rate):
    tone = sweep(rate, 0.5)
    assert len(tone) == rate // 2 and 0.95 < np.abs(tone).max() <= 1
    assert tone[0] == tone[-1] == 0
    power = np.abs(np.fft.rfft(tone)) ** 2
    outside = np.fft.rfftfreq(len(tone), 1 / rate) > min(0.47 * rate, 19000)
    assert power[outside].sum() < 1e-3 * power.sum()
