"""Long pasts as rings: nothing is shifted, each step reads views and writes only what is new.

A dilated convolution needs a few of the many frames it remembers, yet its step, as written, joins
all of them to the new ones and slices the newest off for the next step. Where a batch has one row,
and the taps lie a multiple of a step's frames apart, the past can be a ring of blocks of as many
frames: step `k` writes block `k`, each tap is a block at a fixed distance, and nothing wraps. The
graph gets the taps as inputs `ring.NAME.k` (`k` frames before the new ones) and gives the new
frames as `next.NAME`. Blocks are a power of two, so that all rings come round together.
"""

from __future__ import annotations

import numpy as np

from rtsep.engines.state import Layout

_AXIS = 1


class Ring:
    """The memory of one ring. `views(turn)` are the arrays of step `turn`, by name."""

    def __init__(self, layout: Layout, memory: np.ndarray) -> None:
        """`memory` is (blocks, *block): one block after the other."""
        self._layout, self._memory = layout, memory
        self.reset()

    def views(self, turn: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """What is read, and what is written."""
        layout = self._layout
        read = {
            f"ring.{layout.name}.{distance}": self._block(turn - distance // layout.block[_AXIS])
            for distance in layout.taps
        }
        return read, {f"next.{layout.name}": self._block(turn)}

    def reset(self) -> None:
        self._memory[:] = self._layout.fresh

    def _block(self, index: int) -> np.ndarray:
        return self._memory[index % self._layout.blocks]
