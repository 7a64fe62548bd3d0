"""The memory of an exported step: sound, and state as two sets or as rings.

Two sets of buffers hold the state; a step reads one and writes the other, then they swap. In a
single row, long pasts are rings instead (rings.py). All of it is there from the first step to the
last, so that an engine binds it once, when it is made: one binding per turn, until rings and sets
are where they began.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rtsep.engines.protocol import StreamSpec, check_buffers, check_rows, paused_rows
from rtsep.engines.rings import Ring
from rtsep.engines.state import Layout, Leaf

Arrays = dict[str, np.ndarray]


class Buffers:
    """What `process` and `reset` of an engine on the processor do, but for the step itself."""

    def __init__(
        self, spec: StreamSpec, leaves: Sequence[Leaf], layouts: Sequence[Layout] = ()
    ) -> None:
        self._spec = spec
        self.mixture = aligned(spec.mixture_shape, "float32")
        self.stems = aligned(spec.stems_shape, "float32")
        self._names = [leaf.name for leaf in leaves]
        self._fresh = [np.array(leaf.fresh, leaf.dtype) for leaf in leaves]
        # The step of turn k reads sets[k % 2] and writes the other.
        self.sets = [[aligned(leaf.shape, leaf.dtype) for leaf in leaves] for _ in range(2)]
        self.rings = [
            Ring(ring, aligned((ring.blocks, *ring.block), ring.dtype)) for ring in layouts
        ]
        self.turns = max([2, *(ring.blocks for ring in layouts)])
        self._turn = 0
        self.reset()

    def views(self, turn: int) -> tuple[Arrays, Arrays]:
        """What the step of a turn reads, and what it writes, by the names of the graph."""
        read, written = {"mixture": self.mixture}, {"stems": self.stems}
        before, after = self.sets[turn % 2], self.sets[1 - turn % 2]
        for name, old, new in zip(self._names, before, after, strict=True):
            read[f"state.{name}"], written[f"next.{name}"] = old, new
        for ring in self.rings:
            old, new = ring.views(turn)
            read |= old
            written |= new
        return read, written

    def process(
        self,
        run: Callable[[int], None],
        mixture: np.ndarray,
        stems: np.ndarray,
        active: Sequence[bool] | None,
    ) -> None:
        """`run` does the step of the turn it is given, on the views of that turn."""
        check_buffers(self._spec, mixture, stems)
        paused = paused_rows(self._spec, active)
        if len(paused) == self._spec.batch:
            stems[:] = 0
            return
        np.copyto(self.mixture, mixture, casting="same_kind")
        run(self._turn)
        before, after = self.sets[self._turn % 2], self.sets[1 - self._turn % 2]
        self._turn = (self._turn + 1) % self.turns
        np.copyto(stems, self.stems)
        for row in paused:
            stems[row] = 0
            for old, new in zip(before, after, strict=True):
                new[row] = old[row]

    def reset(self, rows: Sequence[int] | None = None) -> None:
        """As new; or just those rows."""
        if rows is not None:
            check_rows(self._spec, rows)
        rows = range(self._spec.batch) if rows is None else rows
        for buffer, fresh in zip(self.sets[self._turn % 2], self._fresh, strict=True):
            for row in rows:
                buffer[row] = fresh.reshape(buffer.shape[1:]) if fresh.ndim else fresh
        for ring in self.rings if len(rows) else ():
            ring.reset()  # there is one row where there are rings


def aligned(shape: Sequence[int], dtype: str) -> np.ndarray:
    """Zeros that start on a cache line."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    raw = np.zeros(size + 63, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype).reshape(shape)
