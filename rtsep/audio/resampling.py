"""One streaming resampler for everything: a polyphase FIR with a constant, declared delay.

    resampler = Resampler(48000, 16000, channels=2)
    y = resampler.process(x)            # x (channels, n); as many samples as `x` makes computable

Output sample k is the input, low-passed, at the time k / rate_out - delay. Its position among the
input samples and the row of coefficients that belongs to it follow from k by integers alone, so
nothing drifts, and what comes out does not depend, to the bit, on how the input was cut.
"""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numba
import numpy as np

from rtsep.audio.filters import PHASES, find
from rtsep.audio.rates import check_rate

_PIECE = 4096  # input samples taken at once


class Resampler:
    """From `rate_in` to `rate_out` (Hz, any two integers in `RATES`), float32, channels first.

    `filter`: "standard" (80 dB, flat to 0.42 of the lower rate) or "short" (60 dB, half the delay,
    flat to 0.39). `delay` is in seconds, exact; by default it is half the filter's length, the
    least that needs no input beyond the moment that is computed. Another one moves the output's
    phase by any fraction of a sample; a negative one lets output sample 0 stand for a time after
    input sample 0, and the first outputs wait for their input.

    Memory is fixed: a table of at most 1025 rows of `taps` coefficients, and a history of
    `taps + 4096` samples per channel (and what a delay beyond the default adds). `process` itself
    returns a new array.

    Raises `WrongCall` for rates outside `RATES` and unknown filters.
    """

    def __init__(
        self,
        rate_in: int,
        rate_out: int,
        channels: int,
        filter: str = "standard",
        delay: Fraction | None = None,
    ):
        for rate in (rate_in, rate_out):
            check_rate(rate)
        low_pass = find(filter)
        low = min(rate_in, rate_out)
        half_width = low_pass.half_width(low)
        self.rate_in, self.rate_out, self.channels = rate_in, rate_out, channels
        self.half_width: Fraction = half_width
        self.delay: Fraction = half_width if delay is None else Fraction(delay)
        self.passband: float = low_pass.passband * low  # Hz
        self.stopband: float = low_pass.stopband * low  # Hz

        ratio = Fraction(rate_out, rate_in)
        self._up, self._down = ratio.numerator, ratio.denominator
        # The newest input of output k is floor(k * down / up + lead): lead is where the filter's
        # right end lies. In units of 1 / up of an input sample: an integer, and a fraction that is
        # the same for all outputs and therefore belongs to the table.
        lead = (half_width - self.delay) * rate_in * self._up
        self._offset = floor(lead)
        self._table, self._scale = _coefficients(
            low_pass, rate_in, low, self._up, float(lead - self._offset)
        )
        self._fraction = float(lead - self._offset)
        self.taps: int = self._table.shape[1]
        # Before the first input sample there is silence, as far back as output 0 looks.
        self._silence = self.taps - 1 + max(0, -(self._offset // self._up))
        self._history = np.zeros((channels, self._silence + self.taps + _PIECE), np.float32)
        self.reset()

    def reset(self) -> None:
        """As new: the next input sample is number 0 again."""
        self._history[:, : self._silence] = 0
        self._filled = self._silence  # columns of the history that are in use
        self._taken = 0  # input samples so far; the newest is in column filled - 1
        self._given = 0  # output samples so far

    def computable(self, n: int) -> int:
        """How many output samples there are after `n` input samples."""
        return max(0, (n * self._up - 1 - self._offset) // self._down + 1)

    def process(self, x: np.ndarray) -> np.ndarray:
        """The next output samples (channels, m), m = computable(all input) - all output.

        `x` is (channels, n) with any n, 0 included.
        """
        n = x.shape[1]
        y = np.empty((self.channels, self.computable(self._taken + n) - self._given), np.float32)
        done = 0
        for begin in range(0, n, _PIECE):
            done = self._piece(x[:, begin : begin + _PIECE], y, done)
        if n == 0 and y.shape[1]:  # a delay so long that the first outputs need no input at all
            self._piece(x, y, 0)
        return y

    def _piece(self, x: np.ndarray, y: np.ndarray, done: int) -> int:
        n = x.shape[1]
        if self._filled + n > self._history.shape[1]:
            self._forget()
        self._history[:, self._filled : self._filled + n] = x
        self._filled += n
        self._taken += n
        count = self.computable(self._taken) - self._given
        if count:
            newest, phase = divmod(self._given * self._down + self._offset, self._up)
            newest += self._filled - self._taken
            _filter(
                self._history, self._table, newest, phase, self._down, self._up,
                self._fraction, self._scale, y, done, count,
            )  # fmt: skip
            self._given += count
        return done + count

    def _forget(self) -> None:
        """Moves what later outputs still look at to the front."""
        newest = (self._given * self._down + self._offset) // self._up
        first = newest + self._filled - self._taken - self.taps + 1
        first = min(first, self._filled)  # outputs that wait for far input need nothing yet
        kept = self._filled - first
        self._history[:, :kept] = self._history[:, first : self._filled].copy()
        self._filled = kept


def _coefficients(low_pass, rate_in: int, low: int, up: int, fraction: float):
    """The table (rows, taps), oldest tap first, and its rows per phase (0: one row each).

    Row r serves the outputs whose right filter end lies (r + fraction) / up, or r / PHASES, of a
    sample behind their newest input.
    """
    exact = up <= PHASES
    steps = (np.arange(up) + fraction) / up if exact else np.arange(PHASES + 1) / PHASES
    return low_pass.rows(steps, rate_in, low), 0.0 if exact else PHASES / up


@numba.njit(
    "void(float32[:,::1],float32[:,::1],int64,int64,int64,int64,float64,float64,float32[:,::1],int64,int64)",
    nogil=True,
    cache=True,
    fastmath={"reassoc", "contract", "nsz"},  # the order within a sum is the compiler's, but fixed
)
def _filter(history, table, newest, phase, down, up, fraction, scale, y, begin, count):
    taps = table.shape[1]
    for channel in range(history.shape[0]):
        sound = history[channel]
        n, r = newest, phase
        for k in range(begin, begin + count):
            first = n - taps + 1
            total = np.float32(0)
            if scale == 0.0:
                for i in range(taps):
                    total += table[r, i] * sound[first + i]
            else:
                place = (r + fraction) * scale
                row = min(int(place), table.shape[0] - 2)
                weight = np.float32(place - row)
                for i in range(taps):
                    low, high = table[row, i], table[row + 1, i]
                    total += (low + weight * (high - low)) * sound[first + i]
            y[channel, k] = total
            r += down
            n += r // up
            r %= up
