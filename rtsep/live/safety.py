"""What protects ears and equipment, compiled into the callback: levels in, levels out.

Coming in: the input gain, ramped over 5 ms, and how often the input is at full scale.

Going out: the whole output rises over the run's first `FADE_UP` samples, and over the first that a
device plays when it is back; nothing that is not a
finite number leaves; and a limiter keeps every sample at or below its ceiling. It has no
look-ahead, which would be latency: the gain falls at once, so that the sound follows the ceiling
instead of exceeding it, is held for 20 ms (half a period of 25 Hz: a loud tone is turned down, not
bent), and returns over 100 ms. What never exceeds the ceiling passes bit for bit. Outputs that play
the same (the mix, or one stem) share a gain, so that a stereo image stays where it is.
"""

from __future__ import annotations

import math

import numpy as np

from rtsep.live.layout import (
    CEILING,
    CLIPPED_OUT,
    FADE,
    FADE_UP,
    INPUT_GAIN,
    INPUT_RAMP,
    LIMIT_GAIN,
    LIMIT_HOLD,
    LIMITED,
    LIMITING,
    MIX,
    OUT_BUS,
    OUT_PEAK,
    OUTPUTS,
    RATE,
    RELEASE,
    RISE_FROM,
    STEM,
    STEMS,
)
from rtsep.machine import compiled

# A converter of 16 bit that clips says no more than this.
FULL_SCALE = 32767 / 32768
_HOLD = 50  # a part of a second
_FALL = 20 * math.log(10) / 20  # of a meter, nepers a second


@compiled
def aim_input(h, x):
    """Before a block: starts a ramp if the input gain has changed."""
    if x[INPUT_GAIN] != x[INPUT_RAMP + 3]:
        x[INPUT_RAMP + 3] = x[INPUT_GAIN]
        x[INPUT_RAMP + 2] = (x[INPUT_GAIN] - x[INPUT_RAMP + 1]) / h[FADE]
        h[INPUT_RAMP] = h[FADE]


@compiled
def input_gain(h, x):
    """The input gain for the next frame."""
    left = h[INPUT_RAMP]
    if left > 0:
        h[INPUT_RAMP] = left - 1
        x[INPUT_RAMP + 1] = (
            x[INPUT_RAMP + 3] if left == 1 else x[INPUT_RAMP + 1] + x[INPUT_RAMP + 2]
        )
    return x[INPUT_RAMP + 1]


@compiled
def meter(h, x, slot, peak, n):
    """Raises a meter to this peak, or lets it fall for n samples."""
    x[slot] = max(np.float64(peak), x[slot] * math.exp(-_FALL * n / h[RATE]))


@compiled
def protect(h, x, out, n, clock):
    """What goes out at the times from `clock` on: raised, limited, counted. `out` is changed."""
    if clock < h[RISE_FROM] + h[FADE_UP]:
        _rise(h, out, n, clock)
    peak = np.float32(0)
    for i in range(n * h[OUTPUTS]):
        if out[i] - out[i] != 0:
            out[i] = 0
        peak = max(peak, abs(out[i]))
    if peak > x[CEILING] or h[LIMITING]:
        _limit(h, x, out, n)
        peak = np.float32(min(peak, x[CEILING]))
    if peak > 1:
        for i in range(n * h[OUTPUTS]):
            h[CLIPPED_OUT] += abs(out[i]) > 1
    meter(h, x, OUT_PEAK, peak, n)


@compiled
def _rise(h, out, n, clock):
    outputs = h[OUTPUTS]
    for i in range(n):
        share = min(1.0, max(0, clock + i - h[RISE_FROM]) / h[FADE_UP])
        for o in range(outputs):
            out[i * outputs + o] *= share * share * (3 - 2 * share)


@compiled
def _limit(h, x, out, n):
    outputs, ceiling, limiting = h[OUTPUTS], x[CEILING], False
    for bus in range(MIX, STEM + h[STEMS]):
        gain = x[LIMIT_GAIN + bus]
        for i in range(n):
            peak = 0.0
            for o in range(outputs):
                if h[OUT_BUS + o] == bus:
                    peak = max(peak, np.float64(abs(out[i * outputs + o])))
            if h[LIMIT_HOLD + bus] > 0:
                h[LIMIT_HOLD + bus] -= 1
            elif gain < 1:
                gain = 1 - (1 - gain) * x[RELEASE]
                if gain > 1 - 1e-6:
                    gain = 1.0
            if peak * gain > ceiling:
                gain = ceiling / peak
                h[LIMITED] += 1
                h[LIMIT_HOLD + bus] = h[RATE] // _HOLD
            if gain < 1:
                for o in range(outputs):
                    if h[OUT_BUS + o] == bus:
                        value = gain * out[i * outputs + o]
                        out[i * outputs + o] = min(max(value, -ceiling), ceiling)
        x[LIMIT_GAIN + bus] = gain
        limiting |= gain < 1
    h[LIMITING] = limiting
