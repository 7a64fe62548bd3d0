"""What happens to a sound on its way to a microphone: speed, levels over time, colour, rooms.

Colours and rooms are drawn once into a bank of frequency responses, so that one pair of transforms
per sound applies one of each. A room here is a direct path, some early reflections and a decaying
tail: the shape of a measured response, at no cost.
"""

from __future__ import annotations

import numba
import numpy as np

_KNOTS = 10  # of a colour, evenly spaced over the octaves from 50 Hz


class Filters:
    """Random colours and rooms for signals of `length` samples.

    Args:
        length: samples of the signals that are filtered.
        rate: samples per second.
        count: how many colours and how many rooms are held.
    """

    def __init__(self, length: int, rate: int, seed: int, count: int = 128) -> None:
        rng = np.random.default_rng([seed, 1])
        self.length = length
        tail = int(0.4 * rate)
        self.size = _fast_size(length + tail)
        frequencies = np.fft.rfftfreq(self.size, 1 / rate)
        octaves = np.log2(np.maximum(frequencies, 50) / 50)
        knots = np.linspace(0, octaves[-1], _KNOTS)
        self.colours = np.stack(
            [_decibels(np.interp(octaves, knots, _colour(rng))) for _ in range(count)]
        ).astype(np.float32)
        self.rooms = np.stack(
            [np.fft.rfft(room(rng, rate, tail), self.size) for _ in range(count)]
        ).astype(np.complex64)

    def apply(
        self, x: np.ndarray, rng: np.random.Generator, *, strong: bool, room: bool
    ) -> np.ndarray:
        """(length,) float32 filtered; a `strong` colour is two of them, `room` adds one."""
        response = self._response(rng, strong)
        if room:
            response = response * self.rooms[rng.integers(len(self.rooms))]
        return np.fft.irfft(np.fft.rfft(x, self.size) * response, self.size)[: self.length]

    def noise(self, rng: np.random.Generator) -> np.ndarray:
        """(length,) stationary noise of power 1 whose spectrum falls by -1 to 9 dB per octave."""
        bins = self.colours.shape[1]
        white = rng.standard_normal(2 * bins, dtype=np.float32).view(np.complex64)
        slope = np.arange(1, bins + 1, dtype=np.float32) ** np.float32(-rng.uniform(-0.17, 1.5))
        slope[: bins // 200] = slope[bins // 200]  # nothing but rumble is down there
        spectrum = white * (slope / slope.max()) * self._response(rng, True)
        spectrum /= np.sqrt(np.mean(np.abs(spectrum) ** 2))
        return np.fft.irfft(spectrum, self.size, norm="ortho")[: self.length]

    def _response(self, rng: np.random.Generator, strong: bool) -> np.ndarray:
        response = self.colours[rng.integers(len(self.colours))]
        if strong:
            response = response * self.colours[rng.integers(len(self.colours))]
        return response


def room(rng: np.random.Generator, rate: int, length: int) -> np.ndarray:
    """A room's impulse response, (length,): the direct path is 1, at once."""
    decay = rng.uniform(0.1, 0.7)  # seconds for 60 dB
    seconds = np.arange(length) / rate
    envelope = 10 ** (-3 * seconds / decay)
    first = rng.uniform(0.002, 0.012)
    tail = rng.standard_normal(length) * envelope * (seconds > 2 * first)
    # High frequencies are absorbed first.
    tail = 0.6 * tail + 0.4 * np.roll(tail, 1)
    response = np.zeros(length)
    response[0] = 1
    for delay in first + rng.exponential(0.012, rng.integers(4, 14)):
        if (at := int(delay * rate)) < length:
            response[at] += rng.choice([-1, 1], p=[0.3, 0.7]) * 0.6 * first / delay * envelope[at]
    ratio = 10 ** (-rng.uniform(2, 16) / 20)
    return response + tail * ratio / max(np.sqrt(np.sum(tail**2)), 1e-9)


def envelope(rng: np.random.Generator, length: int, depth: float, knots: int) -> np.ndarray:
    """(length,) gains that wander by about `depth` dB."""
    return _interpolated(_decibels(rng.normal(0, depth, knots)).astype(np.float32), length)


@numba.njit(cache=True, nogil=True)
def stretched(x, factor, length):
    """Plays `x` (float32) `factor` times as fast: (length,), cubic between samples."""
    out = np.empty(length, np.float32)
    last = len(x) - 3
    for i in range(length):
        time = 1 + i * factor
        at = min(int(time), last)
        t = np.float32(time - at)
        a, b, c, d = x[at - 1], x[at], x[at + 1], x[at + 2]
        # Catmull-Rom: exact on the samples, with a continuous slope.
        out[i] = b + np.float32(0.5) * t * (
            c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))
        )
    return out


@numba.njit(cache=True, nogil=True)
def _interpolated(knots, length):
    out = np.empty(length, np.float32)
    step = (len(knots) - 1) / length
    for i in range(length):
        at = int(i * step)
        t = np.float32(i * step - at)
        out[i] = knots[at] + t * (knots[at + 1] - knots[at])
    return out


def _colour(rng: np.random.Generator) -> np.ndarray:
    """Decibels at the knots: a tilt and gentle bumps."""
    return rng.normal(0, 2, _KNOTS) + np.linspace(-1, 1, _KNOTS) * rng.normal(0, 3)


def _decibels(gain: np.ndarray) -> np.ndarray:
    return 10 ** (gain / 20)


def _fast_size(least: int) -> int:
    """The least even size from `least` on whose transform has small factors only."""
    size = least + least % 2
    while True:
        rest = size
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += 2
