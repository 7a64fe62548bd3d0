"""Rings addressed by time: one producer that always overwrites, any number of readers.

Frame t of a ring, t being the absolute sample time of the device's clock, lies at index
t mod capacity, a power of two. The producer first reserves what it is about to overwrite, writes,
then publishes. A reader checks that what it wants is published, copies it, and checks again that
no part of it had been reserved meanwhile: then the copy is whole. Nobody ever waits.

Times before 0 are silence, and valid.
"""

from __future__ import annotations

import numpy as np

from rtsep.live.layout import (
    CAPACITY,
    DATA,
    FLAGS,
    RESERVED,
    VALID,
    WIDTH,
    WRITTEN,
    Block,
)
from rtsep.machine import compiled, fence, load_acquire, store_release

OK, NOT_YET, OVERRUN = 0, 1, 2


@compiled
def load(h, slot):
    """An index that another thread writes."""
    return load_acquire(h.ctypes.data + 8 * slot)


@compiled
def store(h, slot, value):
    """An index that other threads read."""
    store_release(h.ctypes.data + 8 * slot, value)


@compiled
def written(h, ring):
    """The time up to which the ring is written."""
    return load(h, h[ring + WRITTEN])


@compiled
def reserve(h, ring, n):
    """Announces that the next n frames will be overwritten; the time of the first of them."""
    start = h[h[ring + WRITTEN]]
    store(h, h[ring + RESERVED], start + n)
    fence()
    return start


@compiled
def publish(h, ring, end):
    """What was reserved is written."""
    fence()
    store(h, h[ring + WRITTEN], end)


@compiled
def set_flags(h, u8, ring, start, n, flag):
    """Flags the frames from `start` on; more than the ring holds are as many as it holds."""
    capacity = h[ring + CAPACITY]
    if n > capacity:
        start, n = start + n - capacity, capacity
    base = h[ring + FLAGS]
    for t in range(start, start + n):
        u8[base + (t & (capacity - 1))] = flag


@compiled
def write(h, f32, u8, ring, frames, flag):
    """Appends frames (n, width), n at most the capacity."""
    n, width = frames.shape
    capacity, data = h[ring + CAPACITY], h[ring + DATA]
    start = reserve(h, ring, n)
    for i in range(n):
        at = data + ((start + i) & (capacity - 1)) * width
        for k in range(width):
            f32[at + k] = frames[i, k]
    set_flags(h, u8, ring, start, n, flag)
    publish(h, ring, start + n)


@compiled
def skip(h, u8, ring, end, flag):
    """Goes on at time `end`: what lies between stays as it is, and gets this flag."""
    start = h[h[ring + WRITTEN]]
    reserve(h, ring, end - start)
    set_flags(h, u8, ring, start, end - start, flag)
    publish(h, ring, end)


@compiled
def overrun(h, ring, start):
    """Whether the frame at `start` may have been overwritten."""
    fence()
    return load(h, h[ring + RESERVED]) - h[ring + CAPACITY] > start


@compiled
def read(h, f32, u8, ring, start, frames, flags):
    """Copies n frames from `start` on into `frames` (n, width) and their `flags` (n,).

    OK, NOT_YET (not all of it is written) or OVERRUN (it was overwritten; `frames` is garbage).
    """
    n, width = frames.shape
    capacity, data, base = h[ring + CAPACITY], h[ring + DATA], h[ring + FLAGS]
    if start + n > written(h, ring):
        return NOT_YET
    first = max(start, 0)
    for i in range(min(n, max(-start, 0))):
        frames[i, :] = 0
        flags[i] = VALID
    for i in range(first - start, n):
        at = (start + i) & (capacity - 1)
        flags[i] = u8[base + at]
        for k in range(width):
            frames[i, k] = f32[data + at * width + k]
    return OVERRUN if first < start + n and overrun(h, ring, first) else OK


@compiled
def worst_flag(h, u8, ring, start, n):
    """VALID, or the highest other flag among n written frames from `start` on."""
    capacity, base = h[ring + CAPACITY], h[ring + FLAGS]
    worst = VALID
    for t in range(max(start, 0), start + n):
        worst = max(worst, u8[base + (t & (capacity - 1))])
    return worst


class Ring:
    """One ring of a block, for Python: CAPTURE, STEMS_A, STEMS_B or PLAYED."""

    def __init__(self, block: Block, ring: int):
        self._block, self._ring = block, ring
        self.width, self.capacity = int(block.i64[ring + WIDTH]), int(block.i64[ring + CAPACITY])

    @property
    def written(self) -> int:
        """The time up to which it is written."""
        return written(self._block.i64, self._ring)

    def write(self, frames: np.ndarray, flag: int = VALID) -> None:
        """Appends frames (n, width), float32. For the ring's one producer."""
        b = self._block
        for k in range(0, len(frames), self.capacity):
            write(b.i64, b.f32, b.u8, self._ring, frames[k : k + self.capacity], flag)

    def skip(self, end: int, flag: int) -> None:
        """Goes on at time `end`, flagging what is left out. For the ring's one producer."""
        skip(self._block.i64, self._block.u8, self._ring, end, flag)

    def read(self, start: int, n: int) -> tuple[int, np.ndarray, np.ndarray]:
        """(OK, NOT_YET or OVERRUN, frames (n, width), flags (n,)) from time `start` on."""
        frames = np.empty((n, self.width), np.float32)
        flags = np.empty(n, np.uint8)
        status = self.read_into(start, frames, flags)
        return status, frames, flags

    def read_into(self, start: int, frames: np.ndarray, flags: np.ndarray) -> int:
        """As `read`, into arrays that are there."""
        b = self._block
        return read(b.i64, b.f32, b.u8, self._ring, start, frames, flags)
