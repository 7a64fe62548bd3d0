"""The band above a model's: who of the stems it belongs to.

A model at 16 kHz hears nothing above 8 kHz. What the device has there is shared among the stems by
their energies in the highest octave that the model hears, where a voice's sibilants and a cymbal's
shimmer are still seen: each channel and sample by the stems' smoothed energies up to then, so that
the share is causal and costs no latency. What there is less than a ten-thousandth of below stays
with the remainder: it is more likely a leak than a hint. Compiled; needs no torch.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from rtsep.machine import compiled

SMOOTHING = 0.01  # s: time constant of the energies
_LEAST = 1e-4  # of the energy above the band: with less than that below, it is nobody's sound
_NOTHING = 1e-30  # what is smaller would only be slow to compute with
_Q = math.sqrt(2)  # of two band-passes in a row: an octave wide


class Shares(NamedTuple):
    """The state, and what is to be shared, as compiled code takes it: see `share`."""

    high: np.ndarray  # (channels, most)
    filter: np.ndarray
    decay: float
    delays: np.ndarray
    energies: np.ndarray  # the last is of what is shared


class FullBand:
    """At `rate` (Hz), for stems of which the model hears all up to `top` Hz.

    `state` is of `stems` and `channels`, and of at most `most` samples at once; `share` is called
    with what follows each other.
    """

    def __init__(self, rate: int, top: float, stems: int, channels: int, most: int):
        self.state = Shares(
            np.zeros((channels, most), np.float32),
            _band_pass(rate, top / math.sqrt(2)),
            math.exp(-1 / (SMOOTHING * rate)),
            np.zeros((stems, channels, 2, 2)),
            np.zeros((stems + 1, channels)),
        )

    def reset(self) -> None:
        self.state.delays[...] = 0
        self.state.energies[...] = 0


def _band_pass(rate: int, centre: float) -> np.ndarray:
    """(b0, a1, a2) of a band-pass of 0 dB at its centre, b1 = 0, b2 = -b0: R. Bristow-Johnson's
    audio equaliser cookbook."""
    omega = 2 * math.pi * centre / rate
    alpha = math.sin(omega) / (2 * _Q)
    return np.array([alpha, -2 * math.cos(omega), 1 - alpha]) / (1 + alpha)


@compiled
def share(shares, stems, n):
    """Adds to the first n samples of stems (stems, channels, n or more), float32, in place, their
    shares of `high`. The last stem's is left out: it is what the others leave."""
    b0, a1, a2 = shares.filter
    decay, energies = shares.decay, shares.energies
    count, channels, _ = stems.shape
    for c in range(channels):
        for i in range(n):
            extra = np.float64(shares.high[c, i])
            energies[count, c] = decay * energies[count, c] + (1 - decay) * extra * extra
            total = _LEAST * energies[count, c] + _NOTHING
            for s in range(count):
                x = np.float64(stems[s, c, i])
                for k in range(2):
                    d = shares.delays[s, c, k]
                    y = b0 * x + d[0]
                    d[0] = d[1] - a1 * y
                    d[1] = -b0 * x - a2 * y
                    x = y if abs(y) > _NOTHING else 0.0
                energies[s, c] = decay * energies[s, c] + (1 - decay) * x * x
                total += energies[s, c]
            for s in range(count - 1):
                stems[s, c, i] += np.float32(energies[s, c] / total * extra)
