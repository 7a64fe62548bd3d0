"""The audio callback, compiled: what the device (or the simulated clock) calls for every block.

It has PortAudio's C signature; its user data is the block's address. A block of n frames that
begins at clock time c is taken into the capture ring, the worker is woken, and what goes out are
the sounds of the times c − latency and on:

    mix   dry + wet · Σ (gain − 1) · stem        all gains 1: the dry sound, bit for bit
    stem  gain · stem                            an output that a stem is routed to

When another worker takes over, its stems are cross-faded with the last one's over 20 ms, as long as
both have them. Where the latency has to become longer nobody is heard for a moment, and dry is
cross-faded from the old one to the new one.

What comes in is amplified, what goes out protected: see `safety.py`. Where stems are missing,
`fade.py` leads the corrections (the sum above) to nothing, so that dry goes on alone, or the whole
mix (as far as it is wet) to silence. No call here allocates, locks, or enters Python.
"""

from __future__ import annotations

import ctypes

import numpy as np
from numba import carray, types

from rtsep.live import layout as at
from rtsep.live.fade import POSITION, PRESENT, advance, turn, weights
from rtsep.live.histogram import count
from rtsep.live.layout import (
    ACTIVE,
    BAD_INPUT,
    BLOCK,
    BYPASS,
    CALLBACK_HISTOGRAM,
    CALLBACK_MAX,
    CALLBACKS,
    CAPACITY,
    CAPTURE,
    CHANNELS,
    CLIPPED_IN,
    COMPANY,
    CROSS,
    CROSS_FROM,
    CROSS_LEFT,
    DATA,
    DRY_FROM,
    DRY_LEFT,
    FADE,
    FADE_STATE,
    FALL,
    FINISH,
    GAIN,
    HISTORY,
    IN_CHANNEL,
    IN_PEAK,
    INPUTS,
    LAST_ACTIVE,
    LAST_MISS,
    LAST_SOUND,
    LATENCY,
    MAX_STEMS,
    MISSES,
    MIX,
    MUTE,
    NEXT_LATENCY,
    NOBODY,
    ON_MISS,
    OUT_BUS,
    OUT_CHANNEL,
    OUTPUTS,
    PATIENCE,
    PLAYED,
    RAMP_LEFT,
    RAMP_STEP,
    RAMP_TARGET,
    RAMP_VALUE,
    RECORDED,
    SCRATCH,
    SILENCE,
    SOLO,
    STEM,
    STEMS,
    STEMS_A,
    STEMS_B,
    STOP,
    VALID,
    WAKE,
    WET,
    WIDTH,
    WORKER,
    XRUNS,
)
from rtsep.live.ring import load, overrun, publish, reserve, set_flags, worst_flag, written
from rtsep.live.safety import FULL_SCALE, aim_input, input_gain, meter, protect
from rtsep.machine import WAKES_BY_OFFSET, address_of, c_function, compiled, now, pause, post

_ULONG = types.uint64 if ctypes.sizeof(ctypes.c_ulong) == 8 else types.uint32
SIGNATURE = types.int32(types.voidptr, types.voidptr, _ULONG, types.voidptr, _ULONG, types.voidptr)
# The same signature for ctypes: in, out, frames, time, flags, user data.
PROTOTYPE = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_ulong,
    ctypes.c_void_p,
    ctypes.c_ulong,
    ctypes.c_void_p,
)
CONTINUE, COMPLETE = 0, 1
RESTS = len(at.CAUSES)  # the worker rests in silence, or nobody is to be heard: no miss
_XRUN = 0b1111  # PortAudio's four flags for lost or late buffers, without "priming"
MORE_AT_ONCE = 1 << 16  # our own flag: the host handed over more at once than was agreed on
_NAP = 20_000  # ns between looks of a callback that waits
_WORDS = 1 << 40  # more than any block holds: views of it are never bounds-checked


@compiled
def _capture(h, x, f32, u8, source, n, silent):
    """Takes the device's n frames into the capture ring; the clock time of the first."""
    inputs, channels = h[INPUTS], h[CHANNELS]
    capacity, data = h[CAPTURE + CAPACITY], h[CAPTURE + DATA]
    clock = reserve(h, CAPTURE, n)
    aim_input(h, x)
    clipped, sounds, peak = 0, -1, np.float32(0)
    for i in range(n):
        to = data + ((clock + i) & (capacity - 1)) * channels
        gain = input_gain(h, x)
        for k in range(channels):
            value = np.float32(0)
            if not silent:
                raw = source[i * inputs + h[IN_CHANNEL + k]]
                clipped += abs(raw) >= FULL_SCALE
                if raw != 0:
                    sounds = i
                value = np.float32(gain * raw)
                if value - value != 0:  # NaN or infinity
                    value = np.float32(0)
                    h[BAD_INPUT] += 1
            peak = max(peak, abs(value))
            f32[to + k] = value
    h[CLIPPED_IN] += clipped
    if sounds >= 0:
        h[LAST_SOUND] = clock + sounds + 1
    meter(h, x, IN_PEAK, peak, n)
    set_flags(h, u8, CAPTURE, clock, n, VALID)
    publish(h, CAPTURE, clock + n)
    return clock


@compiled
def _aim(h, x):
    """Looks at the controls, and starts a ramp towards what has changed."""
    stems = h[STEMS]
    soloed = False
    for k in range(stems):
        soloed |= x[SOLO + k] != 0
    for k in range(stems):
        heard = x[MUTE + k] == 0 and (not soloed or x[SOLO + k] != 0)
        _aim_at(h, x, k, x[GAIN + k] if heard else 0.0)
    _aim_at(h, x, MAX_STEMS, 0.0 if x[BYPASS] != 0 else x[WET])


@compiled
def _aim_at(h, x, ramp, target):
    if target != x[RAMP_TARGET + ramp]:
        x[RAMP_TARGET + ramp] = target
        x[RAMP_STEP + ramp] = (target - x[RAMP_VALUE + ramp]) / h[FADE]
        h[RAMP_LEFT + ramp] = h[FADE]


@compiled
def _ramp(h, x):
    """One sample further on all ramps."""
    for k in range(h[STEMS]):
        _climb(h, x, k)
    _climb(h, x, MAX_STEMS)


@compiled
def _climb(h, x, ramp):
    left = h[RAMP_LEFT + ramp]
    if left > 0:
        h[RAMP_LEFT + ramp] = left - 1
        x[RAMP_VALUE + ramp] += x[RAMP_STEP + ramp]
        if left == 1:
            x[RAMP_VALUE + ramp] = x[RAMP_TARGET + ramp]


@compiled
def _ready(h, end):
    active = load(h, ACTIVE)
    if end <= 0 or active == NOBODY:
        return True
    if active != h[LAST_ACTIVE] and load(h, COMPANY) == 1 + h[LAST_ACTIVE]:
        last = h[LAST_ACTIVE]
    elif h[CROSS_LEFT] > 0 and load(h, COMPANY) == 1 + h[CROSS_FROM]:
        last = h[CROSS_FROM]
    else:
        last = active
    return written(h, _ring(active)) >= end and written(h, _ring(last)) >= end


@compiled
def _taped(h, clock):
    """Whether the recorder is less than half of the rings behind."""
    return clock - load(h, RECORDED) < h[CAPTURE + CAPACITY] // 2


@compiled
def _ring(active):
    return STEMS_A if active == 0 else STEMS_B


@compiled
def _wait(h, end, clock):
    """On a clock that can wait: until the stems are there (another worker may make them) and the
    recorder is not far behind, or it makes no sense any more."""
    scratch = h[SCRATCH : SCRATCH + 2]
    until = now(scratch) + load(h, PATIENCE) * 1_000_000
    while not (_ready(h, end) and _taped(h, clock)) and now(scratch) < until:
        if load(h, WORKER) == at.DEAD or load(h, STOP):
            return
        pause(_NAP, scratch)


@compiled
def _cause(h, u8, ring, start, n, flags):
    """Why these stems can't be played: a cause's number, RESTS, or −1 where they can."""
    end = start + n
    if end <= 0:
        return -1
    if written(h, ring) >= end:
        # The worker is at most at the clock, and the ring holds several times the latency:
        # what is there now stays until this call is over, so that it can be read in place.
        if overrun(h, ring, max(start, 0)):
            return at.WORKER_JUMPED
        flag = worst_flag(h, u8, ring, start, n)
        if flag == VALID:
            return -1
        if flag == at.IDLE:
            return RESTS
        return at.WORKER_JUMPED if flag == at.JUMPED else at.INVALID_SOUND
    if load(h, WORKER) >= at.DEAD:
        return at.WORKER_DEAD
    if n > h[BLOCK] or flags & MORE_AT_ONCE:
        return at.GROWN
    return at.XRUN if flags & _XRUN else at.LATE


@compiled
def _over(h, u8, active, present, start, n, flags):
    """Where another worker has taken over: is its signal to be cut in, in place of a cross-fade?

    Begins the cross-fade where both have their stems, and ends it where one of them has them not.
    """
    last = h[LAST_ACTIVE]
    h[LAST_ACTIVE] = active
    if active != last:
        h[CROSS_LEFT] = 0
        if present and last != NOBODY and h[FADE_STATE + PRESENT]:
            h[CROSS_FROM] = last
            if _cause(h, u8, _ring(last), start, n, flags) < 0:
                h[CROSS_LEFT] = h[CROSS]
                return False
        return True
    if h[CROSS_LEFT] > 0:
        if present and _cause(h, u8, _ring(h[CROSS_FROM]), start, n, flags) < 0:
            return False
        h[CROSS_LEFT] = 0
        return True
    return False


@compiled
def _dry_over(h):
    """Begins the change to another latency, if one is wanted."""
    wanted = load(h, NEXT_LATENCY)
    if wanted != h[LATENCY]:
        h[DRY_FROM], h[DRY_LEFT] = h[LATENCY], h[CROSS]
        h[LATENCY] = wanted


@compiled
def _corrections(h, x, f32, ring, t, bus, c, wet):
    """What is added to dry at time t, on an output that plays channel c of a bus."""
    stem = h[ring + DATA] + (t & (h[ring + CAPACITY] - 1)) * h[ring + WIDTH] + c
    if bus >= STEM:
        k = bus - STEM
        return x[RAMP_VALUE + k] * f32[stem + k * h[CHANNELS]]
    corrections = 0.0
    if bus == MIX:
        for k in range(h[STEMS]):
            gain = x[RAMP_VALUE + k]
            corrections += (gain - 1) * f32[stem + k * h[CHANNELS]]
        corrections *= wet
    return corrections


@compiled
def _mix(h, x, f32, ring, start, out, n, present):
    """Fills `out` with n frames of what is heard of the times from `start` on."""
    channels, outputs = h[CHANNELS], h[OUTPUTS]
    length = h[FADE]
    fall = f32[h[FALL] : h[FALL] + length]
    silence = h[ON_MISS] == SILENCE
    dry_mask, dry_data = h[CAPTURE + CAPACITY] - 1, h[CAPTURE + DATA]
    last, crossing, changing = _ring(h[CROSS_FROM]), h[CROSS_LEFT], h[DRY_LEFT]
    sooner = h[LATENCY] - h[DRY_FROM]
    for i in range(n):
        t = start + i
        _ramp(h, x)
        signal, tail, behind = weights(h, FADE_STATE, fall)
        whole = signal == 1 and tail == 0
        here = h[FADE_STATE + POSITION] % (2 * length)
        wet = x[RAMP_VALUE + MAX_STEMS]
        old = (crossing - i - 0.5) / h[CROSS]  # the weights of what is left behind
        old_dry = (changing - i - 0.5) / h[CROSS]
        for o in range(outputs):
            bus, c = h[OUT_BUS + o], h[OUT_CHANNEL + o]
            dry = 0.0
            corrections = 0.0  # what fades
            if t >= 0 and bus == MIX:
                dry = np.float64(f32[dry_data + (t & dry_mask) * channels + c])
            if old_dry > 0 and t + sooner >= 0 and bus == MIX:
                before = np.float64(f32[dry_data + ((t + sooner) & dry_mask) * channels + c])
                dry += old_dry * (before - dry)
            if t >= 0 and present:
                corrections = _corrections(h, x, f32, ring, t, bus, c, wet)
                if old > 0:
                    before = _corrections(h, x, f32, last, t, bus, c, wet)
                    corrections += old * (before - corrections)
            if silence:
                # What dry/wet and bypass leave of the mixture needs no stems.
                corrections += wet * dry
                dry -= wet * dry
            if not whole:
                tailing = f32[h[HISTORY] + behind * outputs + o]
                corrections = corrections * signal + tailing * tail
            f32[h[HISTORY] + here * outputs + o] = corrections
            out[i * outputs + o] = dry + corrections
        advance(h, FADE_STATE, length)


@compiled
def _block(h, x, f32, u8, source, out, n, flags, silent, deaf):
    clock = _capture(h, x, f32, u8, source, n, silent)
    post(load(h, WAKE) + (h.ctypes.data if WAKES_BY_OFFSET else 0))
    _dry_over(h)
    start = clock - h[LATENCY]
    if load(h, PATIENCE):
        _wait(h, start + n, clock)
    active = load(h, ACTIVE)
    ring = _ring(active)
    cause = RESTS if active == NOBODY else _cause(h, u8, ring, start, n, flags)
    present = cause < 0
    if not present and cause != RESTS:
        h[MISSES + cause] += 1
        h[LAST_MISS] = clock
    renew = _over(h, u8, active, present, start, n, flags)
    turn(h, FADE_STATE, present, renew)
    _aim(h, x)
    if not deaf:
        _mix(h, x, f32, ring, start, out, n, present)
        protect(h, x, out, n, clock)
    reserve(h, PLAYED, n)
    set_flags(h, u8, PLAYED, clock, n, 1 + active if present else 0)
    set_flags(h, u8, PLAYED, clock, min(n, h[CROSS_LEFT]), 3 + active)
    publish(h, PLAYED, clock + n)
    h[CROSS_LEFT] = max(0, h[CROSS_LEFT] - n)
    h[DRY_LEFT] = max(0, h[DRY_LEFT] - n)
    if flags & _XRUN:
        h[XRUNS] += 1


@c_function(SIGNATURE)
def callback(source, out, frames, info, flags, user):
    h = carray(user, (_WORDS,), np.int64)
    scratch = h[SCRATCH : SCRATCH + 2]
    began = now(scratch)
    x = carray(user, (_WORDS,), np.float64)
    f32 = carray(user, (2 * _WORDS,), np.float32)
    u8 = carray(user, (8 * _WORDS,), np.uint8)
    n = np.int64(frames)
    silent, deaf = address_of(source) == 0, address_of(out) == 0
    samples = carray(source, (n * h[INPUTS],), np.float32)
    to = carray(out, (n * h[OUTPUTS],), np.float32)
    _block(h, x, f32, u8, samples, to, n, np.int64(flags), silent, deaf)
    took = now(scratch) - began
    count(h, CALLBACK_HISTOGRAM, took)
    h[CALLBACK_MAX] = max(h[CALLBACK_MAX], took)
    h[CALLBACKS] += 1
    return np.int32(COMPLETE if load(h, FINISH) else CONTINUE)


def bound():
    """The callback for ctypes: `bound()(in, out, frames, None, flags, block.address)`."""
    return PROTOTYPE(callback.address)
