"""A logarithmic sweep: as long in every octave, so that any path lets a part of it through."""

from __future__ import annotations

import numpy as np

_LOWEST, _HIGHEST = 60.0, 18_000.0  # Hz


def sweep(rate: int, seconds: float) -> np.ndarray:
    """(samples,) float32, full scale, from 60 Hz to 18 kHz or as high as the rate allows; faded in
    and out over a twentieth of it."""
    n = round(seconds * rate)
    octaves = np.log(min(_HIGHEST, 0.45 * rate) / _LOWEST)
    phase = 2 * np.pi * _LOWEST * seconds / octaves * np.expm1(np.arange(n) / n * octaves)
    edge = np.minimum(np.arange(n), np.arange(n)[::-1]) / (n / 20)
    fade = np.sin(np.pi / 2 * np.minimum(edge, 1)) ** 2
    return (np.sin(phase) * fade).astype(np.float32)
