"""Two clocks on one time line: by how much they differ, and how sound of one is taken to the other.

An input counts its frames by its own clock, an output asks for frames by another. Both are seen by
the machine's monotonic clock, late by whatever holds a callback up. This is the delay-locked loop
between them, in two parts:

- A tracker of the input's lead: the sound that has come in, in seconds of the input's clock, less
  the sound that went out, in seconds of the output's, at the moment at which a delivery of the
  output begins. What has come in is continued from the input's latest delivery to that moment, so
  that the fill of the ring is known between its steps too: with two blocks whose phase goes round
  once in some seconds, the bare fill would say nothing faster than that. The lead is a line in
  time whose slope is the difference of the clocks: least squares over a memory that grows to 20 s,
  by its recursive form (the alpha-beta filter of growing memory). What lies off the line by more
  than a delivery is a late wake-up, and left out; what stays off it is a loss, and a new line.
- A ratio: the line's slope, and a tenth of the remaining offset a second, so that sound is late by
  the same time always. It moves by at most 20 ppm a second once sound is heard.

All functions are compiled, work on an int64 array h and a float64 array x over the same memory, and
take their time (ns) as an argument: what is played is what a simulation plays.
"""

from __future__ import annotations

import numpy as np

from rtsep.live.delivery import at_once
from rtsep.machine import compiled, load_acquire, store_release

SLEW = 20e-6  # a second: the ratio's steepest change
MEMORY = 20.0  # s that the line looks back on
_RECALLED = 1.0  # s of memory that a new line begins with, where the slope is known
_PULL = 0.1  # of the offset, made up for in a second
_MOST_PULL = 150e-6
_MOST = 2000e-6  # no sound card is that wrong
_OFF = 0.25  # s off the line: it is another line
_LEAST_BOUND = 0.002  # s
_ANCHORS = 8
_FOLLOWED = 1.5  # s that clocks are followed at least before sound is heard

# Slots of h. The input's callback writes the first line of them, the output's the second.
LINE = 16
IN_FRAMES = 0  # that have come in
IN_SINCE = 1  # three, for `at_once`
IN_DELIVERIES = 4  # so far: anchor k mod 8 is (ns, frames that were there) as delivery k began
ANCHORS = LINE
OUT_FRAMES = 3 * LINE  # that were asked for
WHOLE = OUT_FRAMES + 1  # the place to read at: in whole frames, and FRACTION
SEATED = OUT_FRAMES + 2  # whether the place follows from the one before
TRACKED = OUT_FRAMES + 3  # OUT_FRAMES as the line was moved on last
SEAT = 4 * LINE  # anybody: the next delivery begins a new line
IN_RATE = 5 * LINE
OUT_RATE = IN_RATE + 1
# Slots of x, the output's.
LEVEL = 6 * LINE  # s: the line, at the output's latest delivery
SLOPE = LEVEL + 1
WEIGHT = LEVEL + 2  # how many measurements the line is made of
OFF = LEVEL + 3  # s for which measurements were off the line
RATIO = LEVEL + 4  # of the clocks, less 1, as played
FRACTION = LEVEL + 5
DELAY = LEVEL + 6  # s: how far the place is kept behind the input's lead
BOUND = LEVEL + 7  # s
END = 7 * LINE


def set_up(h: np.ndarray, in_rate: int, out_rate: int, slope: float | None = None) -> None:
    """Makes h ready to follow two clocks; `slope`: their difference, where it is known."""
    h[:END] = 0
    x = h.view(np.float64)
    h[[IN_RATE, OUT_RATE]] = in_rate, out_rate
    x[BOUND] = _LEAST_BOUND
    if slope is not None:
        x[SLOPE], x[RATIO], x[WEIGHT], h[SEAT] = slope, slope, np.inf, 1


def settle(h: np.ndarray, delay: float, delivery: float) -> None:
    """Before sound is heard. `delay` of the place behind the input's lead, and the longer of both
    sides' deliveries, in seconds."""
    x = h.view(np.float64)
    x[DELAY], x[BOUND] = delay, max(delivery, _LEAST_BOUND)


def followed(delivery: float) -> float:
    """Seconds for which two clocks are followed before sound is heard, where the longer of both
    sides' deliveries lasts so many seconds.

    The error of a line's slope falls with its length to the power of 1.5, and with the root of how
    many measurements a second it has. This keeps it alike however rare they are: small enough that
    what is made up for later never empties the ring.
    """
    return max(_FOLLOWED, 12 * delivery ** (1 / 3))


@compiled
def came_in(h, began, n):
    """The input's callback: n frames, at the time `began`."""
    frames = h[IN_FRAMES]
    if at_once(h, IN_SINCE, h[IN_RATE], began, n) == n:
        k = h[IN_DELIVERIES]
        at = ANCHORS + 2 * (k & (_ANCHORS - 1))
        h[at], h[at + 1] = began, frames
        store_release(h.ctypes.data + 8 * IN_DELIVERIES, k + 1)
    store_release(h.ctypes.data + 8 * IN_FRAMES, frames + n)


@compiled
def _measured(h, began):
    """(The input's lead in seconds, for how long it has delivered nothing.)"""
    k = load_acquire(h.ctypes.data + 8 * IN_DELIVERIES) - 1
    at = ANCHORS + 2 * (k & (_ANCHORS - 1))
    since = (began - h[at]) * 1e-9
    return h[at + 1] / h[IN_RATE] + since - h[OUT_FRAMES] / h[OUT_RATE], since


@compiled
def _begin(h, x, measured, dt):
    """A new line through this measurement, with the slope as far as it is known."""
    x[WEIGHT] = min(x[WEIGHT], _RECALLED / dt)
    x[LEVEL], x[OFF] = measured, 0.0
    h[SEATED] = h[SEAT] = 0


@compiled
def _track(h, x, measured, dt):
    """Moves the line on by dt, to a measurement."""
    x[LEVEL] += x[SLOPE] * dt
    if x[WEIGHT] == 0 or h[SEAT]:
        _begin(h, x, measured, dt)
    if abs(measured - x[LEVEL]) > x[BOUND]:
        x[OFF] += dt
        if x[OFF] < _OFF:
            return
        _begin(h, x, measured, dt)
    x[OFF] = 0.0
    error = measured - x[LEVEL]
    k = min(x[WEIGHT] + 1, max(2.0, MEMORY / dt))
    x[WEIGHT] = k
    x[LEVEL] += 2 * (2 * k - 1) / (k * (k + 1)) * error
    if k > 1:
        slope = x[SLOPE] + 6 / (k * (k + 1)) * error / dt
        x[SLOPE] = min(max(slope, -_MOST), _MOST)


@compiled
def steer(h, x, began, before, n, heard):
    """The output asks for n frames at the time `began`, after `before` of the same delivery.

    (Input frames per output frame, whether the place jumped): the place to read at is WHOLE and
    FRACTION. Not `heard`: place and ratio move at will. After it comes `passed`.
    """
    out = h[OUT_FRAMES]
    if h[IN_DELIVERIES] == 0:
        return h[IN_RATE] / h[OUT_RATE], False
    if before == 0:
        dt = max(out - h[TRACKED], 1) / h[OUT_RATE]
        h[TRACKED] = out
        measured, since = _measured(h, began)
        if since < x[BOUND] + _OFF:
            _track(h, x, measured, dt)
        else:
            x[LEVEL] += x[SLOPE] * dt  # an input that is gone says nothing
    lead = x[LEVEL] - x[DELAY] + out / h[OUT_RATE]
    jumps = not (heard and h[SEATED])
    if jumps:
        h[WHOLE] = np.int64(np.floor(lead * h[IN_RATE]))
        x[FRACTION] = lead * h[IN_RATE] - h[WHOLE]
        h[SEATED] = 1
    offset = lead - (h[WHOLE] + x[FRACTION]) / h[IN_RATE]
    wanted = x[SLOPE] + min(max(_PULL * offset, -_MOST_PULL), _MOST_PULL)
    most = SLEW * n / h[OUT_RATE]
    x[RATIO] = wanted if not heard else min(max(wanted, x[RATIO] - most), x[RATIO] + most)
    return h[IN_RATE] / h[OUT_RATE] * (1 + x[RATIO]), jumps and heard


@compiled
def passed(h, x, n, step):
    """n frames went out that were read at this step."""
    h[OUT_FRAMES] += n
    place = x[FRACTION] + n * step
    whole = np.int64(np.floor(place))
    h[WHOLE] += whole
    x[FRACTION] = place - whole
