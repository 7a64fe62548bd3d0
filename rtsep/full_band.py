"""The band above a model's: who of the stems it belongs to.

A model at 16 kHz hears nothing above 8 kHz. What the device has there is shared among the stems by
their energies in the highest octave that the model hears, where a voice's sibilants and a cymbal's
shimmer are still seen: each channel and sample by the stems' smoothed energies up to then, so that
the share is causal and costs no latency. What there is less than a ten-thousandth of below stays
with the remainder: it is more likely a leak than a hint. Compiled; needs no torch.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

SMOOTHING = 0.01  # s: time constant of the energies
_LEAST = 1e-4  # of the energy above the band: with less than that below, it is nobody's sound
_NOTHING = 1e-30  # what is smaller would only be slow to compute with
_Q = math.sqrt(2)  # of two band-passes in a row: an octave wide


class FullBand:
    """At `rate` (Hz), for stems of which the model hears all up to `top` Hz.

    The state is of `stems` and `channels`; `share` is called with what follows each other.
    """

    def __init__(self, rate: int, top: float, stems: int, channels: int):
        self._filter = _band_pass(rate, top / math.sqrt(2))
        self._decay = math.exp(-1 / (SMOOTHING * rate))
        self._delays = np.zeros((stems, channels, 2, 2))
        self._energies = np.zeros((stems + 1, channels))  # the last is what is shared

    def reset(self) -> None:
        self._delays[...] = 0
        self._energies[...] = 0

    def share(self, stems: np.ndarray, high: np.ndarray) -> None:
        """Adds to stems (stems, channels, n), in place, their shares of `high` (channels, n).

        The last stem's is left out: it is what the others leave.
        """
        _share(stems, high, self._filter, self._decay, self._delays, self._energies)


def _band_pass(rate: int, centre: float) -> np.ndarray:
    """(b0, a1, a2) of a band-pass of 0 dB at its centre, b1 = 0, b2 = -b0: R. Bristow-Johnson's
    audio equaliser cookbook."""
    omega = 2 * math.pi * centre / rate
    alpha = math.sin(omega) / (2 * _Q)
    return np.array([alpha, -2 * math.cos(omega), 1 - alpha]) / (1 + alpha)


@njit(
    "void(float32[:,:,::1],float32[:,::1],float64[::1],float64,float64[:,:,:,::1],float64[:,::1])",
    nogil=True,
    cache=True,
)
def _share(stems, high, coefficients, decay, delays, energies):
    b0, a1, a2 = coefficients
    count, channels, n = stems.shape
    for c in range(channels):
        for i in range(n):
            extra = np.float64(high[c, i])
            energies[count, c] = decay * energies[count, c] + (1 - decay) * extra * extra
            total = _LEAST * energies[count, c] + _NOTHING
            for s in range(count):
                x = np.float64(stems[s, c, i])
                for k in range(2):
                    d = delays[s, c, k]
                    y = b0 * x + d[0]
                    d[0] = d[1] - a1 * y
                    d[1] = -b0 * x - a2 * y
                    x = y if abs(y) > _NOTHING else 0.0
                energies[s, c] = decay * energies[s, c] + (1 - decay) * x * x
                total += energies[s, c]
            for s in range(count - 1):
                stems[s, c, i] += np.float32(energies[s, c] / total * extra)
