"""How a worker is, seen from outside: whether it gets round to anything, and whether what it makes
is fit to be heard."""

from __future__ import annotations

import time

import numpy as np

from rtsep.live.layout import (
    BEAT_A,
    BEAT_B,
    BLOCK,
    CAPTURE,
    IDLE,
    JUMPED,
    PATIENCE,
    STEMS_A,
    STEMS_B,
    VALID,
    Block,
)
from rtsep.live.ring import OK, Ring, written

LOOK = 0.05  # s between two looks
_PATIENT = 15  # times as long a worker may take on a clock that waits for it


class Pulse:
    """Of the worker that fills stem ring `ring` (0 or 1); `limit`: seconds without a beat."""

    def __init__(self, block: Block, ring: int, limit: float):
        self._h, self._slot = block.i64, (BEAT_A, BEAT_B)[ring]
        self._limit = limit * (_PATIENT if block.i64[PATIENCE] else 1)
        self._beat, self._looked, self._still = -1, time.monotonic(), 0.0

    def stopped(self) -> bool:
        """Whether it has not beaten for so long, at looks that were made all the time."""
        beat, now = int(self._h[self._slot]), time.monotonic()
        # In small steps: this process may have been stopped, and the worker with it.
        self._still = 0 if beat != self._beat else self._still + min(now - self._looked, 4 * LOOK)
        self._beat, self._looked = beat, now
        return self._still >= self._limit


def warm(block: Block, ring: int) -> bool:
    """Whether the last that was written to a stem ring is fit to be heard."""
    stems = Ring(block, (STEMS_A, STEMS_B)[ring])
    end = stems.written
    status, _, flags = stems.read(end - 1, 1)
    return bool(end > 0 and status == OK and flags[0] != JUMPED)


def in_time(block: Block, ring: int, latency: int) -> bool:
    """Whether a stem ring has what would be heard now; on a clock that waits for its worker: about
    to have it."""
    h, stems = block.i64, Ring(block, (STEMS_A, STEMS_B)[ring])
    now = written(h, CAPTURE) - latency
    end = now
    if h[PATIENCE]:
        end = min(end, stems.written)
        if now - end > stems.capacity // 4:
            return False
    n = int(h[BLOCK])
    status, _, flags = stems.read(end - n, n)
    return bool(status == OK and np.isin(flags, (VALID, IDLE)).all())
