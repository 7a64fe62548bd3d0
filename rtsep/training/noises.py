"""Backgrounds that are made: machines, of which there are few recordings."""

from __future__ import annotations

import numba
import numpy as np

from rtsep.training.augment import Filters, envelope

_TABLE = 4096


def machine(rng: np.random.Generator, filters: Filters, rate: int) -> np.ndarray:
    """(length,) a motor or fan: one or two hums with harmonics in coloured noise that throbs."""
    length = filters.length
    noise = filters.noise(rng)
    noise /= max(_rms(noise), 1e-9)
    loudness = 10 ** (rng.uniform(-15, 10) / 20)
    sound = np.zeros(length, np.float32)
    base = float(np.exp(rng.uniform(np.log(20), np.log(400))))
    for _ in range(1 + (rng.random() < 0.4)):
        hum = _hum(rng, base, rate, length)
        sound += hum * np.float32(loudness / max(_rms(hum), 1e-9))
        base *= rng.uniform(1.05, 3)
    throb = np.float32(1) + np.float32(rng.uniform(0, 0.8)) * np.sin(
        np.arange(length, dtype=np.float32) * np.float32(2 * np.pi * rng.uniform(0.5, 25) / rate)
    )
    sound += noise * throb
    if rng.random() < 0.5:
        sound *= envelope(rng, length, 3, int(rng.integers(3, 9)))
    return sound


def _hum(rng: np.random.Generator, base: float, rate: int, length: int) -> np.ndarray:
    """Harmonics of `base` Hz below 7 kHz whose pitch wanders by a few per cent."""
    count = int(np.clip(7000 / base, 1, rng.integers(2, 60)))
    spectrum = np.zeros(_TABLE // 2 + 1, np.complex64)
    numbers = np.arange(1, count + 1)
    amplitude = numbers ** -rng.uniform(0.2, 1.6) * np.exp(rng.normal(0, 0.8, count))
    spectrum[1 : count + 1] = amplitude * np.exp(2j * np.pi * rng.random(count))
    table = np.fft.irfft(spectrum, _TABLE).astype(np.float32)
    pitch = envelope(rng, length, rng.uniform(0, 0.3), int(rng.integers(3, 12)))
    return _played(table, pitch, np.float64(base * _TABLE / rate))


@numba.njit(cache=True, nogil=True)
def _played(table, pitch, step):
    out = np.empty(len(pitch), np.float32)
    position = 0.0
    for i in range(len(pitch)):
        position += step * pitch[i]
        if position >= len(table):
            position -= len(table)
        at = int(position)
        t = np.float32(position - at)
        following = at + 1 if at + 1 < len(table) else 0
        out[i] = table[at] + t * (table[following] - table[at])
    return out


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.dot(x, x) / len(x)))
