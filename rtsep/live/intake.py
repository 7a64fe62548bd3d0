"""The sound of an input that has a clock of its own, on the output's time line.

The input's callback puts its frames into a ring and notes when they came. The output's callback
takes its n frames from there through the resampler of varying ratio (`audio/varying.py`), at the
place that the delay-locked loop between the two clocks says (`drift.py`), before anything else:
the run knows only one clock, and `dry` is this sound.

Resampling is done in the output's callback, and not in a thread between the two, for it is the one
who knows how many frames it needs and when: a thread would have to be woken, and to make up for
being woken late it would have to keep a second ring filled, which is latency. It costs the callback
a filter of 33 taps per sample and channel, and nothing that it must not do.

What has not come in time is silence, and the sound goes over to it and back without a step
(`fade.py`). Late frames are never played late: the place moves on.
"""

from __future__ import annotations

import numpy as np
from numba import carray

from rtsep.audio.filters import PHASES
from rtsep.audio.varying import interpolate, reach, table
from rtsep.live import drift
from rtsep.live.callback import CONTINUE, SIGNATURE
from rtsep.live.drift import FRACTION, IN_FRAMES, RATIO, SEAT, WHOLE, came_in, passed, steer
from rtsep.live.fade import PRESENT, cover
from rtsep.machine import c_function, compiled, load_acquire, now, pointer_to, store_release

LARGEST = 1 << 15  # frames of a call
LATE_INPUT, LOST_INPUT = 1, 2  # PortAudio's flags: input underflow and overflow
_PIECE = 256  # output frames that are resampled at once
_SECONDS = 2.0  # of ring

# Slots, after those of `drift.py`. Where things lie: words of 4 bytes (float32), or bytes.
_g = drift.END
(
    CHANNELS,
    SIZE,  # frames of the ring, a power of two
    RING,
    TABLE,
    TAPS,
    SPAN,  # room for what a piece looks at, `WIDTH` frames of every channel
    WIDTH,
    FRESH,  # resampled
    OUT,  # ... and with its gaps covered
    WHOLES,  # bytes
    HISTORY,
    FALL,
    FADE,
) = range(_g, _g + 13)
FADE_STATE = _g + 16  # see fade.py
STARVED = FADE_STATE + 5  # calls for which there was not enough
JUMPS = FADE_STATE + 6
SEEN = FADE_STATE + 7  # of OVERFLOWS
OVERFLOWS = _g + 32  # the host told of frames that it lost; the input's callback
SCRATCH = OVERFLOWS + 1
_HEAD = _g + 48
_WORDS = 1 << 40


@compiled
def take(address, x, began, flags):
    """Frames x (n, channels) that came at the time `began` (ns), with PortAudio's flags."""
    h = carray(pointer_to(address), (_WORDS,), np.int64)
    f32 = carray(pointer_to(address), (2 * _WORDS,), np.float32)
    (n, channels), size, start = x.shape, h[SIZE], h[IN_FRAMES]
    for i in range(n):
        to = h[RING] + ((start + i) & (size - 1)) * channels
        for k in range(channels):
            f32[to + k] = x[i, k]
    if flags & LOST_INPUT:
        store_release(address + 8 * OVERFLOWS, h[OVERFLOWS] + 1)
    came_in(h, began, n)


@c_function(SIGNATURE)
def take_in(source, out, frames, info, flags, user):
    """The input's callback."""
    h = carray(user, (_HEAD,), np.int64)
    began = now(h[SCRATCH : SCRATCH + 2])
    x = carray(source, (np.int64(frames), h[CHANNELS]), np.float32)
    take(h.ctypes.data, x, began, np.int64(flags))
    return np.int32(CONTINUE)


@compiled
def _floats(h, slot, rows, columns):
    return carray(pointer_to(h.ctypes.data + 4 * h[slot]), (rows, columns), np.float32)


@compiled
def _there(h, x, n, step):
    """Whether all that n frames look at is in the ring."""
    newest = h[WHOLE] + np.int64(x[FRACTION] + (n - 1) * step)
    came = load_acquire(h.ctypes.data + 8 * IN_FRAMES)
    # Half a ring is more than an input writes during this call.
    return newest < came and h[WHOLE] - h[TAPS] > came - h[SIZE] // 2 and h[WHOLE] >= h[TAPS]


@compiled
def _resample(h, x, f32, n, step):
    channels, size, taps = h[CHANNELS], h[SIZE], h[TAPS]
    coefficients = _floats(h, TABLE, PHASES + 1, taps)
    span = _floats(h, SPAN, channels, h[WIDTH])
    for begin in range(0, n, _PIECE):
        count = min(_PIECE, n - begin)
        end = x[FRACTION] + begin * step
        first = np.int64(end) - taps + 1
        needed = np.int64(end + (count - 1) * step) - first + 1
        for i in range(needed):
            of = h[RING] + ((h[WHOLE] + first + i) & (size - 1)) * channels
            for k in range(channels):
                span[k, i] = f32[of + k]
        to = pointer_to(h.ctypes.data + 4 * (h[FRESH] + begin * channels))
        y = carray(to, (count, channels), np.float32)
        interpolate(coefficients, span, end - first, step, y)


@compiled
def pull(address, began, before, n, heard):
    """n frames for an output that asks at the time `began`, after `before` of the same delivery.

    (Where they lie, PortAudio's flags for what was lost.) Not `heard`: the clocks are followed, and
    nothing is read.
    """
    h = carray(pointer_to(address), (_WORDS,), np.int64)
    x = carray(pointer_to(address), (_WORDS,), np.float64)
    f32 = carray(pointer_to(address), (2 * _WORDS,), np.float32)
    step, jumped = steer(h, x, began, before, n, heard)
    flags = 0
    if heard:
        there = _there(h, x, n, step)
        if there:
            _resample(h, x, f32, n, step)
        else:
            h[STARVED] += 1
            flags |= LATE_INPUT * h[FADE_STATE + PRESENT]
        if jumped:
            h[JUMPS] += 1
            flags |= LOST_INPUT
        lost = load_acquire(h.ctypes.data + 8 * OVERFLOWS)
        flags |= LOST_INPUT * (lost != h[SEEN])
        h[SEEN] = lost
        channels = h[CHANNELS]
        cover(
            h,
            FADE_STATE,
            _floats(h, HISTORY, 2 * h[FADE], channels),
            f32[h[FALL] : h[FALL] + h[FADE]],
            there,
            _floats(h, FRESH, n, channels),
            _floats(h, OUT, n, channels),
            carray(pointer_to(address + h[WHOLES]), (n,), np.uint8),
            jumped,
        )
    passed(h, x, n, step)
    return address + 4 * h[OUT], flags


class Intake:
    """The memory between an input of `channels` at `in_rate` and an output at `out_rate` (Hz).

    `difference` of the clocks, where it is known from before. `settle` it once it is known how both
    hosts deliver; before that it only follows the clocks.
    """

    def __init__(self, channels: int, in_rate: int, out_rate: int, difference: float | None = None):
        coefficients = table(in_rate, out_rate)
        taps, fade = coefficients.shape[1], max(1, out_rate // 200)
        size = 1 << (int(_SECONDS * in_rate) + 2 * LARGEST - 1).bit_length()
        width = int(_PIECE * (in_rate / out_rate) * 1.01) + taps + 2
        counts = (
            size * channels,
            coefficients.size,
            channels * width,
            LARGEST * channels,
            LARGEST * channels,
            LARGEST // 4,
            2 * fade * channels,
            fade,
        )
        places, floats = [], 2 * _HEAD
        for count in counts:
            places.append(floats)
            floats += -(-count // 32) * 32
        self._h = h = np.zeros(floats // 2, np.int64)
        self._x, f32 = h.view(np.float64), h.view(np.float32)
        drift.set_up(h, in_rate, out_rate, difference)
        h[[RING, TABLE, SPAN, FRESH, OUT, WHOLES, HISTORY, FALL]] = places
        h[WHOLES] *= 4
        h[[CHANNELS, SIZE, TAPS, WIDTH, FADE]] = channels, size, taps, width, fade
        f32[h[TABLE] : h[TABLE] + coefficients.size] = coefficients.ravel()
        falling = 0.5 + 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / fade)
        f32[h[FALL] : h[FALL] + fade] = falling
        h[FADE_STATE : FADE_STATE + 5] = 0, 0, fade, 0, 0  # nothing yet, and no tail
        self._reach = reach(in_rate, out_rate) / in_rate
        self.known = difference or 0.0  # of the devices' own clocks, when they were followed last

    @property
    def address(self) -> int:
        """What `pull` takes, and the user data of `take_in`."""
        return self._h.ctypes.data

    @property
    def difference(self) -> float:
        """By how much the input's clock is faster than the output's, as it is played: 1e-6 is a
        part per million."""
        return float(self._x[RATIO])

    @property
    def starved(self) -> int:
        """Calls of the output for which the input had not delivered enough."""
        return int(self._h[STARVED])

    @property
    def jumps(self) -> int:
        """How often sound was left out or repeated, since one of the clocks had jumped."""
        return int(self._h[JUMPS])

    def settle(self, latency: int, delivery: float) -> None:
        """What goes in comes out `latency` samples of the output later. `delivery`: the longer of
        both sides', in seconds."""
        rate = int(self._h[drift.OUT_RATE])
        drift.settle(self._h, latency / rate - self._reach, delivery)

    def seat(self) -> None:
        """The output goes on with another clock, from the next call on."""
        self.known = self.difference
        self._h[SEAT] = 1


def latency(delivered: int, reserve: int, in_rate: int, out_rate: int) -> int:
    """The least latency of an intake, in samples of the output that asks for `delivered` at once:
    that much has to be there, whatever comes in between, the filter's half, and `reserve` for both
    sides' callbacks being late."""
    return delivered + reserve + int(-(-reach(in_rate, out_rate) * out_rate // in_rate))


def reserve(in_delivery: int, in_rate: int, out_rate: int) -> int:
    """A fair reserve, in samples of the output: 2 ms, or half of what the input delivers."""
    return max(out_rate // 500, -(-in_delivery * out_rate // (2 * in_rate)))
