"""A device for tests: calls the compiled callback as PortAudio would, in blocks of any sizes."""

from __future__ import annotations

import numpy as np

from rtsep.live import layout
from rtsep.live.callback import bound
from rtsep.live.layout import STEMS_A, Block
from rtsep.live.ring import Ring
from rtsep.live.wakeup import Wakeup


class Device:
    """A block, its callback, and in place of a worker a function that knows the stems."""

    def __init__(self, **geometry):
        self.block = Block.create(**geometry)
        self.wakeup = Wakeup(self.block, create=True)
        self.outputs = int(self.block.i64[layout.OUTPUTS])
        self.stems = Ring(self.block, STEMS_A)
        self._call = bound()

    def call(self, x, flags=0):
        """One callback with a block x (n, inputs), or a count of frames with no input at all."""
        n = x if isinstance(x, int) else len(x)
        source = None if isinstance(x, int) else np.ascontiguousarray(x, np.float32)
        out = np.full((n, self.outputs), np.nan, np.float32)
        pointer = None if source is None else source.ctypes.data
        code = self._call(pointer, out.ctypes.data, n, None, flags, self.block.address)
        self.code = code
        return out

    def misses(self):
        counts = self.block.i64[layout.MISSES : layout.MISSES + len(layout.CAUSES)]
        return {c: int(n) for c, n in zip(layout.CAUSES, counts, strict=True) if n}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.wakeup.close()
        self.block.close()
