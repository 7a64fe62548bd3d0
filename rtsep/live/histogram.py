"""Distributions of times: counts in logarithmic bins, 4.4 % wide, from 0.1 µs to minutes."""

from __future__ import annotations

import math

import numpy as np

from rtsep.live.layout import BINS
from rtsep.machine import compiled

PER_OCTAVE = 16
LEAST = 100.0  # ns: the upper edge of bin 0


@compiled
def count(h, histogram, ns):
    """Adds a time to the histogram at this slot."""
    k = 0
    if ns > LEAST:
        k = min(BINS - 1, int(math.log2(ns / LEAST) * PER_OCTAVE) + 1)
    h[histogram + k] += 1


def quantile(counts: np.ndarray, q: float) -> float:
    """The time in ns that a share q of all counted times does not exceed; 0 if there are none.

    It is the upper edge of the bin in which it lies.
    """
    total = int(counts.sum())
    if not total:
        return 0.0
    k = int(np.searchsorted(np.cumsum(counts), q * total - 1e-9))
    return LEAST * 2 ** (k / PER_OCTAVE)
