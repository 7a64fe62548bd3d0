"""Runs a compiled step: all memory is there from the first to the last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rtsep.engines.base import Base
from rtsep.engines.buffered import aligned
from rtsep.engines.calls import FUNCTION, Call
from rtsep.engines.native.processor import Loaded
from rtsep.engines.protocol import StreamSpec


class Native(Base):
    """One call per step, which lets go of the GIL; copies sound once in and once out."""

    def __init__(
        self, spec: StreamSpec, code: bytes, weights: bytes, layout: dict[str, Any]
    ) -> None:
        """`layout` is what `memory.layout` gives."""
        super().__init__(spec)
        self._code: Loaded | None = Loaded(code)
        self._step = FUNCTION(self._code.address("step"))
        self._arena = aligned((layout["size"],), "uint8")
        self._block = aligned((len(weights),), "uint8")
        self._block[:] = np.frombuffer(weights, np.uint8)
        self._places = (self._arena.ctypes.data, self._block.ctypes.data)
        self._mixture = self._array(layout["mixture"], "float32", spec.mixture_shape)
        self._stems = self._array(layout["stems"], "float32", spec.stems_shape)
        self._leaves = [_Leaf(self._arena, **leaf) for leaf in layout["leaves"]]
        self.reset()

    @property
    def call(self) -> Call:
        """A step for compiled code, on the engine's own sound: nothing is copied."""
        self._check_open()
        return Call(
            self._code.address("step"),
            *self._places,
            self._mixture,
            self._stems,
            (self, self._code),
        )

    def close(self) -> None:
        super().close()
        self._code = self._step = None

    def _advance(self, mixture: np.ndarray, stems: np.ndarray, paused: Sequence[int]) -> None:
        self._mixture[...] = mixture
        kept = ()
        if paused:
            kept = [(leaf, row, leaf.past(row)) for leaf in self._leaves for row in paused]
        self._step(*self._places)
        stems[...] = self._stems
        for leaf, row, past in kept:
            leaf.put(row, past)

    def _restart(self, rows: Sequence[int]) -> None:
        for row in rows:
            for leaf in self._leaves:
                leaf.put(row, leaf.fresh)

    def _array(self, offset: int, dtype: str, shape: Sequence[int]) -> np.ndarray:
        return _array(self._arena, offset, dtype, shape)


class _Leaf:
    """A leaf of the state in the arena: a ring where it turns, else plain memory.

    A ring of `turn` frames is there twice: frame `i` of the stream lies at `i % turn` and at
    `turn` more, and the next is where the counter at `at` says.
    """

    def __init__(
        self,
        arena: np.ndarray,
        *,
        offset: int,
        dtype: str,
        shape: list[int],
        fresh: float | int | list,
        turn: int = 0,
        at: int = 0,
    ) -> None:
        batch, *rest = shape
        self.fresh = np.array(fresh, dtype)
        if self.fresh.ndim:
            self.fresh = self.fresh.reshape(rest)
        self._turn = turn
        if turn:
            self._frames, rest = rest[0], [2 * turn, *rest[1:]]
            self._at = _array(arena, at, "int64", (1,))
        self._rows = _array(arena, offset, dtype, (batch, *rest))

    def past(self, row: int) -> np.ndarray:
        """A copy of a row, the oldest frame first."""
        if not self._turn:
            return self._rows[row].copy()
        end = int(self._at[0]) + self._turn
        return self._rows[row, end - self._frames : end].copy()

    def put(self, row: int, past: np.ndarray) -> None:
        """The row as it is to be at the next step."""
        if not self._turn:
            self._rows[row] = past
            return
        places = (int(self._at[0]) - np.arange(self._frames, 0, -1)) % self._turn
        self._rows[row, places] = past
        self._rows[row, places + self._turn] = past


def _array(arena: np.ndarray, offset: int, dtype: str, shape: Sequence[int]) -> np.ndarray:
    kind = np.dtype(dtype)
    size = int(np.prod(shape)) * kind.itemsize
    return arena[offset : offset + size].view(kind).reshape(shape)
