"""The worker's work, compiled: sound from the capture ring, through a pipeline, to a stem ring.

`carry` goes on by itself, block after block, and sleeps in between, until something happens that is
not part of it, of which it says what; the interpreter sees to that, and calls again.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rtsep import passage
from rtsep.live.histogram import count
from rtsep.live.layout import (
    BEAT_A,
    BEAT_B,
    BUSY,
    CAPTURE,
    EPOCH,
    IDLE_AFTER,
    INVALID,
    JUMPED,
    PATIENCE,
    POSITION,
    PROCESSED,
    RESETS,
    STEMS_A,
    STEP_HISTOGRAM,
    STEP_MAX,
    STEPS,
    STOP,
    VALID,
    WRITTEN,
)
from rtsep.live.ring import OK, load, read, write, written
from rtsep.machine import compiled, inlined, now, pause, wait
from rtsep.passage import FAILED, GIVEN, INVALID_UNTIL, LATEST, Passage

QUIET = np.float32(10 ** (-70 / 20))  # no sample above this: silence
_ROUND = 50_000_000  # ns after which the interpreter is asked whether to go on, when there is time
# ns between looks of a worker that is not heard yet, or no longer: the callback wakes the other
# one, and that one can't be asked to pass it on, since it may be replaced for being late.
_UNHEARD = 500_000

# What happened: there is no sound yet; a piece was taken; what waits is too old, or was
# overwritten; it has been silent for long; a step raised; all is to end.
WAITING, TOOK, BEHIND, SILENT, RAISED, STOPPED = range(6)

# Counts, in `Carrier.at`.
(
    HERE,  # the time up to which sound was taken
    QUIET_FOR,  # samples of silence up to there
    WARM,  # outputs before this time are not fit to be heard
    NUMBER,  # which of the run's workers this is
    RING,  # the stem ring that it fills
    WAKEUP,  # the semaphore that wakes it
    SCRATCH,  # two
) = range(7)
COUNTS = 8


class Carrier(NamedTuple):
    """A worker as compiled code takes it."""

    passage: Passage
    at: np.ndarray  # int64
    h: np.ndarray  # the shared block
    f32: np.ndarray
    u8: np.ndarray
    slots: np.ndarray  # int64: where each stem stands in the ring's frames
    most: int  # samples that may wait and are still made up for
    frames: np.ndarray  # (piece, channels), of the capture ring
    flags: np.ndarray  # (piece,)
    sound: np.ndarray  # (channels, piece)
    stems: np.ndarray  # (stems, channels, as much as comes of a piece)
    out: np.ndarray  # (as much, the stem ring's width)


@compiled
def carry(c, once):
    """Takes what there is and waits for more, until there is an event for the interpreter: WAITING
    when it is time to ask it anyway. `once`: takes one piece, if there is one."""
    h, at = c.h, c.at
    scratch = at[SCRATCH : SCRATCH + 2]
    until = now(scratch) + _ROUND
    beat = BEAT_A if at[RING] == STEMS_A else BEAT_B
    while not load(h, STOP):
        h[beat] += 1
        event = _take(c)
        if once or (event != TOOK and event != WAITING):
            return event
        if event == TOOK:
            continue
        # Now there is time for the interpreter; who is orphaned gets no more sound, and comes here.
        if now(scratch) >= until:
            return WAITING
        if _heard(h, at):
            wait(at[WAKEUP], _ROUND, scratch)
        else:
            pause(_UNHEARD, scratch)
    return STOPPED


@inlined
def _take(c):
    """A piece, if there is one."""
    h, at = c.h, c.at
    waiting = written(h, CAPTURE) - at[HERE]
    if waiting <= 0:
        return WAITING
    if waiting > c.most and not h[PATIENCE]:
        return BEHIND
    if h[IDLE_AFTER] and at[QUIET_FOR] >= h[IDLE_AFTER]:
        return SILENT
    began = now(at[SCRATCH : SCRATCH + 2])
    n = min(waiting, len(c.frames))
    frames = c.frames[:n]
    if read(h, c.f32, c.u8, CAPTURE, at[HERE], frames, c.flags[:n]) != OK:
        return BEHIND
    at[QUIET_FOR] = 0 if loud(frames) else at[QUIET_FOR] + n
    for i in range(n):
        for k in range(frames.shape[1]):
            c.sound[k, i] = frames[i, k]
    p = c.passage
    steps, resets, given = p.at[passage.STEPS], p.at[passage.RESETS], p.at[GIVEN]
    made = passage.process(p, c.sound, n, c.stems)
    if p.at[FAILED]:
        return RAISED
    _put(c, made, VALID if given >= p.at[INVALID_UNTIL] else INVALID)
    at[HERE] += n
    if _heard(h, at):
        _log(c, n, steps, resets, now(at[SCRATCH : SCRATCH + 2]) - began)
    return TOOK


@compiled
def silent(h, f32, u8, begin, end, frames, flags):
    """Whether all sound of the capture ring from `begin` to `end` is silence."""
    for start in range(begin, end, len(frames)):
        n = min(len(frames), end - start)
        part = frames[:n]
        status = read(h, f32, u8, CAPTURE, start, part, flags[:n])
        if status != OK or loud(part):
            return False
    return True


@compiled
def _heard(h, at):
    """Whether this worker is the one that is listened to."""
    return load(h, EPOCH) == at[NUMBER]


@compiled
def loud(frames):
    """Whether there is more than silence in them."""
    for i in range(frames.shape[0]):
        for k in range(frames.shape[1]):
            if abs(frames[i, k]) > QUIET:
                return True
    return False


@inlined
def _put(c, n, flag):
    """The stems' n samples, into the ring."""
    if n == 0:
        return
    channels = c.stems.shape[1]
    for i in range(n):
        for k in range(len(c.slots)):
            for channel in range(channels):
                c.out[i, c.slots[k] * channels + channel] = c.stems[k, channel, i]
    ring = c.at[RING]
    cold = min(max(c.at[WARM] - c.h[c.h[ring + WRITTEN]], 0), n)
    if cold > 0:
        write(c.h, c.f32, c.u8, ring, c.out[:cold], JUMPED)
    if cold < n:
        write(c.h, c.f32, c.u8, ring, c.out[cold:n], flag)


@inlined
def _log(c, n, steps, resets, ns):
    """Counts n samples that took so long, and the steps and resets since there were so many."""
    h, p = c.h, c.passage
    h[BUSY] += ns
    h[PROCESSED] += n
    h[POSITION] = c.at[HERE]
    h[RESETS] += p.at[passage.RESETS] - resets
    for k in range(steps, p.at[passage.STEPS]):
        took = p.ns[k & (LATEST - 1)]
        h[STEPS] += 1
        h[STEP_MAX] = max(h[STEP_MAX], took)
        count(h, STEP_HISTOGRAM, took)
