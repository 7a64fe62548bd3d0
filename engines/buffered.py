"""Engines of an exported step on the processor: their sound, and state as two sets or as rings.

Two sets of buffers hold the state; a step reads one and writes the other, then they swap. In a
single row, long pasts are rings instead (rings.py). All of it is there from the first step to the
last, so that an engine binds it once, when it is made: one binding per turn, until rings and sets
are where they began.
"""

from __future__ import annotations

import contextlib
import mmap
from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from rtsep.engines.base import Base
from rtsep.engines.denormals import Flushing
from rtsep.engines.protocol import StreamSpec
from rtsep.engines.rings import Ring
from rtsep.engines.state import Layout, Leaf

Arrays = dict[str, np.ndarray]

_HUGE = 2 << 20  # bytes of a huge page of x86; elsewhere it is an alignment that does no harm


class Buffered(Base):
    """An engine, but for the step of a turn (`_run`); copies sound once in and once out."""

    def __init__(
        self, spec: StreamSpec, leaves: Sequence[Leaf], layouts: Sequence[Layout] = ()
    ) -> None:
        super().__init__(spec)
        self._flushing = Flushing()
        self._mixture = aligned(spec.mixture_shape, "float32")
        self._stems = aligned(spec.stems_shape, "float32")
        self._names = [leaf.name for leaf in leaves]
        self._fresh = [np.array(leaf.fresh, leaf.dtype) for leaf in leaves]
        # The step of turn k reads sets[k % 2] and writes the other.
        self._sets = [[aligned(leaf.shape, leaf.dtype) for leaf in leaves] for _ in range(2)]
        self._rings = [
            Ring(ring, aligned((ring.blocks, *ring.block), ring.dtype)) for ring in layouts
        ]
        self._turns = max([2, *(ring.blocks for ring in layouts)])
        self._turn = 0
        self.reset()

    @abstractmethod
    def _run(self, turn: int) -> None:
        """Does the step of a turn, on its views."""

    def _views(self, turn: int) -> tuple[Arrays, Arrays]:
        """What the step of a turn reads, and what it writes, by the names of the graph."""
        read, written = {"mixture": self._mixture}, {"stems": self._stems}
        before, after = self._sets[turn % 2], self._sets[1 - turn % 2]
        for name, old, new in zip(self._names, before, after, strict=True):
            read[f"state.{name}"], written[f"next.{name}"] = old, new
        for ring in self._rings:
            old, new = ring.views(turn)
            read |= old
            written |= new
        return read, written

    def _advance(self, mixture: np.ndarray, stems: np.ndarray, paused: Sequence[int]) -> None:
        np.copyto(self._mixture, mixture, casting="same_kind")
        with self._flushing:
            self._run(self._turn)
        before, after = self._sets[self._turn % 2], self._sets[1 - self._turn % 2]
        self._turn = (self._turn + 1) % self._turns
        np.copyto(stems, self._stems)
        for row in paused:
            for old, new in zip(before, after, strict=True):
                new[row] = old[row]

    def _restart(self, rows: Sequence[int]) -> None:
        for buffer, fresh in zip(self._sets[self._turn % 2], self._fresh, strict=True):
            for row in rows:
                buffer[row] = fresh.reshape(buffer.shape[1:]) if fresh.ndim else fresh
        for ring in self._rings if len(rows) else ():
            ring.reset()  # there is one row where there are rings


def aligned(shape: Sequence[int], dtype: str) -> np.ndarray:
    """Zeros that start on a cache line; of many, in huge pages, where the system has any.

    Where a step lies in thousands of small ones, looking up where they are costs a tenth of it.
    """
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    if size < _HUGE // 2 or not hasattr(mmap, "MADV_HUGEPAGE"):
        raw, line = np.zeros(size + 63, np.uint8), 64
    else:
        pages = mmap.mmap(-1, -(-size // _HUGE) * _HUGE + _HUGE, flags=mmap.MAP_PRIVATE)
        with contextlib.suppress(OSError):  # a kernel without them
            pages.madvise(mmap.MADV_HUGEPAGE)
        raw, line = np.frombuffer(pages, np.uint8), _HUGE
    start = -raw.ctypes.data % line
    return raw[start : start + size].view(dtype).reshape(shape)
