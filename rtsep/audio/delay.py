"""By how much one sound is late in another: the peak of their correlation, between samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SURE = 12.0
"""The least confidence that means something. In sound that has nothing to do with x the highest of
a million values is about 5 times their RMS; in speech and music, which repeat themselves, 8."""
_STEPS = (0.5, 0.05, 0.005)  # samples: each halves in on what the one before found


@dataclass(frozen=True)
class Match:
    """`delay` in samples, with fractions; `gain`, the factor with which x is in y there (negative
    where it is inverted); `confidence`, the peak over the RMS of the correlation elsewhere."""

    delay: float
    gain: float
    confidence: float

    @property
    def sure(self) -> bool:
        return self.confidence >= SURE


def locate(x: np.ndarray, y: np.ndarray, longest: int, guard: int) -> Match:
    """Where in y (m,) the sound x (n,) begins, from 0 to `longest` samples, inverted or not.

    `guard`: how far around the peak its own slopes and first echoes reach, in samples; they are
    left out of what the peak is compared with.
    """
    size = 1 << (len(x) + len(y) - 1).bit_length()
    spectrum = np.fft.rfft(y, size) * np.conj(np.fft.rfft(x, size))
    correlation = np.fft.irfft(spectrum, size)[: longest + 1]
    peak = int(np.abs(correlation).argmax())
    height, energy = float(correlation[peak]), float(np.dot(x, x))
    if height == 0 or energy == 0:
        return Match(float(peak), 0.0, 0.0)
    away = np.abs(np.arange(len(correlation)) - peak) > guard
    elsewhere = float(np.sqrt(np.mean(correlation[away] ** 2))) if away.any() else 0.0
    confidence = abs(height) / elsewhere if elsewhere else np.inf
    return Match(_between(spectrum, size, peak), height / energy, confidence)


def _between(spectrum: np.ndarray, size: int, peak: int) -> float:
    """The peak's place in the band-limited correlation, of which `peak` is the nearest sample."""
    turns = 2j * np.pi * np.arange(len(spectrum)) / size

    def height(t: float) -> float:
        return abs(float((spectrum * np.exp(turns * t)).real.sum()))

    t = float(peak)
    for step in _STEPS:
        before, here, after = (height(t + k * step) for k in (-1, 0, 1))
        curvature = before - 2 * here + after
        if curvature < 0:
            t += step * min(max(0.5 * (before - after) / curvature, -1.0), 1.0)
    return t
