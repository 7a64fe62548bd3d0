"""How a host hands sound over: learnt from when it calls, before the latency is fixed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rtsep.machine import compiled

# A delivery that came so often, and in so large a share of all, is the host's way, and no hiccup: a
# busy machine wakes the host late a few times a second.
_USUAL, _SHARE = 3, 1 / 16
_TOGETHER = 0.25  # of a block's time: a call within that belongs to the one before
_STEADY = 0.02  # of a block: the host's period is a whole number of blocks to within that


@dataclass(frozen=True)
class Delivery:
    """`block`: the largest call; `unit`: the size of all calls, or 1 where it varies; `most`: what
    the host hands over at once, at least a block. Frames."""

    block: int
    unit: int
    most: int


def observed(times: np.ndarray, frames: np.ndarray, rate: int) -> Delivery:
    """From when (ns) a host called for how many frames, calls (n,) in order, at least one.

    Calls that follow each other at once are one delivery. What came together again and again
    counts, so that some late wake-ups in a busy moment do not make the latency of the whole run
    longer. A host whose period is no whole number of blocks has to hand over one more now and then:
    that is known before it is seen.
    """
    sizes = [int(n) for n in np.unique(frames[frames > 0])]
    block = max(sizes, default=1)
    unit = block if len(sizes) == 1 else 1
    gaps = np.diff(times) / 1e9 * rate
    apart = np.flatnonzero(gaps >= _TOGETHER * frames[:-1]) + 1
    starts = np.concatenate([[0], apart])
    groups = np.add.reduceat(frames, starts)
    amounts, counts = np.unique(groups, return_counts=True)
    usual = amounts[counts >= max(min(_USUAL, counts.max()), _SHARE * len(groups))]
    most = max(block, int(usual.max()))
    if unit == block and len(starts) > _USUAL:
        period = float(np.median(np.diff(times[starts]))) / 1e9 * rate / block
        if abs(period - round(period)) > _STEADY:
            most = max(most, int(np.ceil(period)) * block)
    return Delivery(block, unit, most)


@compiled
def at_once(h, s, rate, began, n):
    """Frames that came at once, the n of a call that began now (ns) among them.

    h[s], h[s + 1], h[s + 2] remember when the last call came, what came at once with it, and its
    size. A call within a quarter of the time that the sound of the one before lasts belongs to it:
    a device in step with its clock leaves all of that time, a host that hands over several blocks
    next to none.
    """
    together = (began - h[s]) * rate < h[s + 2] * 250_000_000
    h[s + 1] = n + (h[s + 1] if together else 0)
    h[s], h[s + 2] = began, n
    return h[s + 1]
