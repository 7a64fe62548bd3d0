"""The same resampler with a ratio that varies, for two clocks that drift apart: compiled, without
state and without memory of its own, so that an audio callback may call it.

Output sample k of a call looks at the input up to the place `end + k * step`: that is where the
right end of its filter lies, among input samples that are counted from 0, and its sound is the one
of the time `reach(...)` samples before. `step` is input samples per output sample, near
rate_in / rate_out; it may be another one at each call, and nothing is heard of the seam, for the
places go on where they were.
"""

from __future__ import annotations

import numba
import numpy as np

from rtsep.audio.filters import PHASES, find


def table(rate_in: int, rate_out: int, filter: str = "standard") -> np.ndarray:
    """Coefficients (PHASES + 1, taps) for `interpolate`. Rates in Hz; raises `WrongCall`."""
    return find(filter).rows(np.arange(PHASES + 1) / PHASES, rate_in, min(rate_in, rate_out))


def reach(rate_in: int, rate_out: int, filter: str = "standard") -> float:
    """How long before its filter's right end an output's own time lies, in input samples."""
    return find(filter).half * rate_in / min(rate_in, rate_out)


@numba.njit(
    "void(float32[:,::1],float32[:,::1],float64,float64,float32[:,::1])",
    nogil=True,
    cache=True,
    fastmath={"reassoc", "contract", "nsz"},
)
def interpolate(table, sound, end, step, y):
    """Fills y (n, channels) from `sound` (channels, m), which reaches from `taps - 1` samples
    before floor(end) to floor(end + (n - 1) * step) at least; `end` counts from its first."""
    taps = table.shape[1]
    for i in range(y.shape[0]):
        place = end + i * step
        newest = int(place)
        phase = (place - newest) * PHASES
        row = int(phase)
        weight = np.float32(phase - row)
        first = newest - taps + 1
        for channel in range(y.shape[1]):
            total = np.float32(0)
            for k in range(taps):
                low, high = table[row, k], table[row + 1, k]
                total += (low + weight * (high - low)) * sound[channel, first + k]
            y[i, channel] = total
