"""The way of samples through a pipeline, compiled: one call for each block.

A live worker runs this for every chunk of sound, when the processor's caches have been others' for
milliseconds: each object that an interpreter would look at costs a read from memory there, and some
hundred of them as much as the engine's whole step. So the way from the first sample to the last is
one compiled function, which calls the engine by its address (`rtsep.engines.calls`), and all that
it looks at is in a `Passage`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rtsep.audio.resampling import Resampling, resample
from rtsep.full_band import Shares, share
from rtsep.machine import call, compiled, inlined, timed

PIECE = 4096  # input samples taken at once, at most: bounds the memory of long blocks
LATEST = 64  # steps whose times are kept

# Counts, in `Passage.at`.
(
    FILLED,  # samples of the current chunk
    CHUNKS,  # that the engine has had
    TAKEN,  # samples in
    GIVEN,  # samples out
    INVALID_UNTIL,  # output samples before this one are not all sound from the model
    BAD_INPUT,  # input samples that were NaN or infinite, and became 0
    STEPS,  # of the engine; counts on after a reset
    RESETS,  # rows that were not finite
    FAILED,  # a step raised: nothing goes on
) = range(9)
SCRATCH = 9  # two
COUNTS = 11


class Passage(NamedTuple):
    """What a pipeline of `channels`, with an engine of (batch, model's channels, chunk), is made
    of. `step` and `mend` are calls, as (address, first, second): of a step, and of what resets the
    rows that are not finite after it."""

    at: np.ndarray  # int64
    ns: np.ndarray  # int64: what the latest steps took, step k at k mod LATEST
    step: tuple[int, int, int]
    mend: tuple[int, int, int]
    kept: np.ndarray  # int64: the stems that are resampled
    rest: int  # the one that is what they leave
    mixture: np.ndarray  # (batch, model's channels, chunk)
    stems: np.ndarray  # (batch, stems, model's channels, chunk)
    to_model: Resampling
    from_model: Resampling
    sound: np.ndarray  # (channels, PIECE): what has come, finite
    heard: np.ndarray  # (channels, ...): the same at the model's rate
    made: np.ndarray  # (streams, channels, chunk): the kept stems, and what the model heard
    back: np.ndarray  # (streams, channels, ...): the same at the sound's rate
    dry: np.ndarray  # (channels, a power of two): input sample t at t mod length
    low: np.ndarray  # (channels, a power of two): what the model heard, the same way
    late: int  # how late the model's stems are, in its samples
    shared: bool
    shares: Shares


@compiled
def process(p, x, n, out):
    """Takes the first n samples of x (channels, n or more), and puts all output that is complete
    with them at the beginning of out (stems, channels, as much or more); how much that is.

    Both are float32. Where a step raised, FAILED is set, and nothing of it is good.
    """
    begin = p.at[GIVEN]
    for start in range(0, n, PIECE):
        size = min(PIECE, n - start)
        _take(p, x, start, size)
        count = resample(p.to_model, p.sound, size, p.heard)
        used = 0
        while used < count and not p.at[FAILED]:
            used = _fill(p, used, count)
            if p.at[FILLED] == p.mixture.shape[2]:
                _step(p)
                _deliver(p, out, begin)
                p.at[FILLED] = 0
    return p.at[GIVEN] - begin


@inlined
def _take(p, x, start, n):
    bad = 0
    for c in range(p.sound.shape[0]):
        for i in range(n):
            value = x[c, start + i]
            if value - value != 0:  # NaN or infinity
                value = np.float32(0)
                bad += 1
            p.sound[c, i] = value
            p.dry[c, (p.at[TAKEN] + i) & (p.dry.shape[1] - 1)] = value
    p.at[BAD_INPUT] += bad
    p.at[TAKEN] += n


@inlined
def _fill(p, used, count):
    """Puts what the model hears into the chunk until it is full or there is no more."""
    batch, width, chunk = p.mixture.shape
    filled = p.at[FILLED]
    n = min(chunk - filled, count - used)
    channels = p.heard.shape[0]
    for row in range(batch):
        for k in range(width):
            # A row for each channel, or the model's own channels in one.
            c = row if batch == channels else k
            for i in range(n):
                p.mixture[row, k, filled + i] = p.heard[c, used + i]
    if p.shared:
        t = p.at[CHUNKS] * chunk + filled
        for c in range(channels):
            for i in range(n):
                p.low[c, (t + i) & (p.low.shape[1] - 1)] = p.heard[c, used + i]
    p.at[FILLED] = filled + n
    return used + n


@inlined
def _step(p):
    at = p.at
    took = timed(p.step[0], p.step[1], p.step[2], at[SCRATCH : SCRATCH + 2])
    p.ns[at[STEPS] & (LATEST - 1)] = took
    at[STEPS] += 1
    at[CHUNKS] += 1
    if not at[FAILED] and not _finite(p.stems.reshape(p.stems.size)):
        call(p.mend[0], p.mend[1], p.mend[2])


@compiled
def _finite(values):
    for value in values:
        if value - value != 0:
            return False
    return True


@inlined
def _deliver(p, out, begin):
    at = p.at
    _choose(p)
    streams, channels, room = p.back.shape
    flat = p.made.reshape(streams * channels, p.made.shape[2])
    back = p.back.reshape(streams * channels, room)
    count = resample(p.from_model, flat, flat.shape[1], back)
    if p.shared:
        _share(p, count)
    place, mask = at[GIVEN] - begin, p.dry.shape[1] - 1
    for c in range(channels):
        for i in range(count):
            rest = p.dry[c, (at[GIVEN] + i) & mask]
            for j in range(len(p.kept)):
                value = p.back[j, c, i]
                out[p.kept[j], c, place + i] = value
                rest -= value
            out[p.rest, c, place + i] = rest
    at[GIVEN] += count


@inlined
def _choose(p):
    """The kept stems of a step, by channels of the sound, and what they were made of."""
    batch, _, width, chunk = p.stems.shape
    channels, kept = p.made.shape[1], len(p.kept)
    for j in range(kept):
        for c in range(channels):
            for i in range(chunk):
                if batch != channels:
                    p.made[j, c, i] = p.stems[0, p.kept[j], c, i]
                    continue
                total = np.float32(0)
                for k in range(width):
                    total += p.stems[c, p.kept[j], k, i]
                p.made[j, c, i] = total / np.float32(width)
    if p.shared:
        t = (p.at[CHUNKS] - 1) * chunk - p.late
        for c in range(channels):
            for i in range(chunk):
                known = t + i >= 0
                p.made[kept, c, i] = p.low[c, (t + i) & (p.low.shape[1] - 1)] if known else 0


@inlined
def _share(p, n):
    """Shares what the sound has above the model's band; the last of `back` is what lies in it, and
    becomes what the remainder has there."""
    kept, mask = len(p.kept), p.dry.shape[1] - 1
    for c in range(p.back.shape[1]):
        for i in range(n):
            low = p.back[kept, c, i]
            p.shares.high[c, i] = p.dry[c, (p.at[GIVEN] + i) & mask] - low
            for j in range(kept):
                low -= p.back[j, c, i]
            p.back[kept, c, i] = low
    share(p.shares, p.back, n)
