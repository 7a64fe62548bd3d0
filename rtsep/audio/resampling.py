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
from typing import NamedTuple

import numpy as np

from rtsep.audio.filters import PHASES, Straight, find
from rtsep.audio.rates import check_rate
from rtsep.errors import WrongCall
from rtsep.machine import compiled, compiled_sums, inlined

_PIECE = 4096  # input samples taken at once

FILLED = 0  # columns of the history that are in use
TAKEN = 1  # input samples so far; the newest is in column filled - 1
GIVEN = 2  # output samples so far


class Resampling(NamedTuple):
    """A resampler as compiled code takes it: see `resample`."""

    table: np.ndarray  # (rows, taps), oldest tap first
    history: np.ndarray  # (channels, columns)
    at: np.ndarray  # int64: FILLED, TAKEN, GIVEN
    up: int
    down: int
    offset: int
    fraction: float
    scale: float  # rows per phase; 0: one row each


class Resampler:
    """From `rate_in` to `rate_out` (Hz, any two integers in `RATES`), float32, channels first.

    `filter`: "standard" (80 dB, flat to 0.42 of the lower rate) or "short" (60 dB, half the delay,
    flat to 0.39); None, between equal rates alone: none, samples stay what they are. `delay` is in
    seconds, exact; by default it is half the filter's length, the least that needs no input beyond
    the moment that is computed. Another one moves the output's phase by any fraction of a sample
    (of whole samples where there is no filter); a negative one lets output sample 0 stand for a
    time after input sample 0, and the first outputs wait for their input.

    Memory is fixed: a table of at most 1025 rows of `taps` coefficients, and a history of
    `taps + 4096` samples per channel (and what a delay beyond the default adds). `process` itself
    returns a new array. `state` is what compiled code calls `resample` with.

    Raises `WrongCall` for rates outside `RATES`, unknown filters, and what can't be without one.
    """

    def __init__(
        self,
        rate_in: int,
        rate_out: int,
        channels: int,
        filter: str | None = "standard",
        delay: Fraction | None = None,
    ):
        for rate in (rate_in, rate_out):
            check_rate(rate)
        if filter is None and rate_in != rate_out:
            raise WrongCall(f"no filter between {rate_in} and {rate_out} Hz: name one")
        low_pass = Straight() if filter is None else find(filter)
        low = min(rate_in, rate_out)
        half_width = low_pass.half_width(low)
        self.rate_in, self.rate_out, self.channels = rate_in, rate_out, channels
        self.half_width: Fraction = half_width
        self.delay: Fraction = half_width if delay is None else Fraction(delay)
        self.passband: float = low_pass.passband * low  # Hz
        self.stopband: float = low_pass.stopband * low  # Hz

        ratio = Fraction(rate_out, rate_in)
        up = ratio.numerator
        # The newest input of output k is floor(k * down / up + lead): lead is where the filter's
        # right end lies. In units of 1 / up of an input sample: an integer, and a fraction that is
        # the same for all outputs and therefore belongs to the table.
        lead = (half_width - self.delay) * rate_in * up
        offset = floor(lead)
        if filter is None and lead != offset:
            raise WrongCall(f"a delay of {-lead} samples takes a filter: name one")
        table, scale = _coefficients(low_pass, rate_in, low, up, float(lead - offset))
        self.taps: int = table.shape[1]
        # Before the first input sample there is silence, as far back as output 0 looks.
        self._silence = self.taps - 1 + max(0, -(offset // up))
        history = np.zeros((channels, self._silence + self.taps + _PIECE), np.float32)
        self.state = Resampling(
            table=table,
            history=history,
            at=np.zeros(3, np.int64),
            up=up,
            down=ratio.denominator,
            offset=offset,
            fraction=float(lead - offset),
            scale=scale,
        )
        self.reset()

    def reset(self) -> None:
        """As new: the next input sample is number 0 again."""
        self.state.history[:, : self._silence] = 0
        self.state.at[:] = self._silence, 0, 0

    def computable(self, n: int) -> int:
        """How many output samples there are after `n` input samples."""
        return max(0, (n * self.state.up - 1 - self.state.offset) // self.state.down + 1)

    def process(self, x: np.ndarray) -> np.ndarray:
        """The next output samples (channels, m), m = computable(all input) - all output.

        `x` is (channels, n) with any n, 0 included.
        """
        n, at = x.shape[1], self.state.at
        count = self.computable(int(at[TAKEN]) + n) - int(at[GIVEN])
        y = np.empty((self.channels, count), np.float32)
        resample(self.state, np.ascontiguousarray(x, np.float32), n, y)
        return y


def _coefficients(low_pass, rate_in: int, low: int, up: int, fraction: float):
    """The table (rows, taps), oldest tap first, and its rows per phase (0: one row each).

    Row r serves the outputs whose right filter end lies (r + fraction) / up, or r / PHASES, of a
    sample behind their newest input.
    """
    exact = up <= PHASES
    steps = (np.arange(up) + fraction) / up if exact else np.arange(PHASES + 1) / PHASES
    return low_pass.rows(steps, rate_in, low), 0.0 if exact else PHASES / up


@compiled
def resample(r, x, n, y):
    """Takes the first n samples of x (channels, n or more), and puts all that can be computed of
    them at the beginning of y (channels, as much or more); how much that is."""
    done = begin = np.int64(0)
    while True:
        size = min(n - begin, _PIECE)
        done = _piece(r, x, begin, size, y, done)
        begin += size
        if begin >= n:
            return done


@inlined
def _piece(r, x, begin, n, y, done):
    at, history = r.at, r.history
    if at[FILLED] + n > history.shape[1]:
        _forget(r)
    for channel in range(history.shape[0]):
        for i in range(n):
            history[channel, at[FILLED] + i] = x[channel, begin + i]
    at[FILLED] += n
    at[TAKEN] += n
    count = max(0, (at[TAKEN] * r.up - 1 - r.offset) // r.down + 1) - at[GIVEN]
    if count > 0:
        place = at[GIVEN] * r.down + r.offset
        newest = place // r.up + at[FILLED] - at[TAKEN]
        _filter(r, newest, place % r.up, y, done, count)
        at[GIVEN] += count
    return done + count


@inlined
def _forget(r):
    """Moves what later outputs still look at to the front."""
    at, history = r.at, r.history
    newest = (at[GIVEN] * r.down + r.offset) // r.up
    first = newest + at[FILLED] - at[TAKEN] - r.table.shape[1] + 1
    first = min(first, at[FILLED])  # outputs that wait for far input need nothing yet
    kept = at[FILLED] - first
    for channel in range(history.shape[0]):
        for i in range(kept):
            history[channel, i] = history[channel, first + i]
    at[FILLED] = kept


@compiled_sums
def _filter(r, newest, phase, y, begin, count):
    table, taps = r.table, r.table.shape[1]
    for channel in range(r.history.shape[0]):
        sound = r.history[channel]
        n, row = newest, phase
        for k in range(begin, begin + count):
            first = n - taps + 1
            total = np.float32(0)
            if r.scale == 0.0:
                for i in range(taps):
                    total += table[row, i] * sound[first + i]
            else:
                place = (row + r.fraction) * r.scale
                low_row = min(int(place), table.shape[0] - 2)
                weight = np.float32(place - low_row)
                for i in range(taps):
                    low, high = table[low_row, i], table[low_row + 1, i]
                    total += (low + weight * (high - low)) * sound[first + i]
            y[channel, k] = total
            row += r.down
            n += row // r.up
            row %= r.up
