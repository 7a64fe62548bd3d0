"""The low-pass of the resampler: one kernel over continuous time, a Kaiser-windowed sinc.

Its length is said in samples of the lower of the two rates, so that its shape, and with it pass
band and stop band, is the same for every pair of rates once frequencies are said relative to that
rate. It is symmetric: its delay is the same at all frequencies.

The window is the one of J. F. Kaiser and R. W. Schafer, "On the use of the I0-sinh window for
spectrum analysis" (1980): beta = 0.1102 (A - 8.7) above 50 dB, and a transition of
(A - 7.95) / 14.36 / length.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import floor

import numpy as np

from rtsep.errors import WrongCall

PHASES = 1024  # rows of a table between which is interpolated (error below -120 dB)


@dataclass(frozen=True)
class LowPass:
    """A kernel of `2 * half` samples of the lower rate, 6 dB down at half that rate.

    From 0 to `passband` (of the lower rate) it is flat within `ripple`; from `stopband` on it lets
    less than `ripple` through. What lies between folds back above the pass band.
    """

    half: int
    attenuation: float

    @property
    def ripple(self) -> float:
        return 10 ** (-self.attenuation / 20)

    @property
    def passband(self) -> float:
        return 0.5 - self._transition / 2

    @property
    def stopband(self) -> float:
        return 0.5 + self._transition / 2

    @property
    def _transition(self) -> float:
        return (self.attenuation - 7.95) / 14.36 / (2 * self.half)

    def half_width(self, low_rate: int) -> Fraction:
        """How far the kernel reaches to either side, in seconds: its delay once causal."""
        return Fraction(self.half, low_rate)

    def taps(self, positions: np.ndarray) -> np.ndarray:
        """The kernel (float64) at `positions`, in samples of the lower rate; 0 outside."""
        inside = np.clip(1 - (positions / self.half) ** 2, 0, None)
        beta = 0.1102 * (self.attenuation - 8.7)
        window = np.i0(beta * np.sqrt(inside)) / np.i0(beta)
        return np.where(np.abs(positions) <= self.half, np.sinc(positions) * window, 0.0)

    def rows(self, behind: np.ndarray, rate_in: int, low_rate: int) -> np.ndarray:
        """A table (rows, taps), float32, oldest tap first: a row for outputs whose right filter end
        lies `behind` (0 to 1) of an input sample after their newest input.

        Each row sums to 1: what is constant stays so, exactly.
        """
        half = self.half * rate_in / low_rate  # in input samples
        age = np.arange(floor(2 * self.half * Fraction(rate_in, low_rate)), -1, -1)
        table = self.taps((age[None, :] - half + behind[:, None]) * (low_rate / rate_in))
        table /= table.sum(axis=1, keepdims=True)
        return np.ascontiguousarray(table, np.float32)


class Straight:
    """No filter: samples as they are, between two rates that are the same."""

    passband = stopband = 0.5

    def half_width(self, low_rate: int) -> Fraction:
        return Fraction(0)

    def rows(self, behind: np.ndarray, rate_in: int, low_rate: int) -> np.ndarray:
        return np.ones((len(behind), 1), np.float32)


FILTERS = {"standard": LowPass(half=16, attenuation=80.0), "short": LowPass(half=8, attenuation=60)}
"""By name: 1 ms and 0.5 ms each way between 48 and 16 kHz."""


def find(name: str) -> LowPass:
    """Raises `WrongCall` for an unknown name."""
    if name not in FILTERS:
        raise WrongCall(f"no resampling filter named {name!r}; there is {', '.join(FILTERS)}")
    return FILTERS[name]
