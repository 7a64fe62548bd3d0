"""Flushes denormal numbers to zero, in the calling thread and only while asked to.

A decaying state ends in denormals, on which processors are up to a hundred times slower. ONNX
Runtime's own option reaches only the thread that makes a process's first session, so the mode is
set here around each run, through the C library's floating-point environment.
"""

from __future__ import annotations

import ctypes
import platform
import sys

# Byte offset of the control word in the C library's fenv_t, and the bits that flush (both inputs
# and results): MXCSR's FTZ and DAZ on x86-64, FPCR's FZ on ARM.
_LAYOUTS = {
    ("linux", "x86_64"): (28, 4, 0x8040),
    ("linux", "aarch64"): (0, 4, 1 << 24),
    ("darwin", "x86_64"): (4, 4, 0x8040),
    ("darwin", "arm64"): (8, 8, 1 << 24),
}
_SIZE = 64


class Flushing:
    """`with flushing:` around what must not meet denormals; nothing where it isn't supported."""

    def __init__(self) -> None:
        self._before = ctypes.create_string_buffer(_SIZE)
        self._within = ctypes.create_string_buffer(_SIZE)
        self._word = _LAYOUTS.get((sys.platform, platform.machine()))
        if self._word is not None:
            loaded = ctypes.CDLL(None)  # the C library's functions are in every process
            self._get, self._set = loaded.fegetenv, loaded.fesetenv

    @property
    def supported(self) -> bool:
        return self._word is not None

    def __enter__(self) -> None:
        if self._word is None:
            return
        start, size, bits = self._word
        self._get(self._before)
        environment = self._before.raw
        word = int.from_bytes(environment[start : start + size], "little") | bits
        self._within.raw = (
            environment[:start] + word.to_bytes(size, "little") + environment[start + size :]
        )
        self._set(self._within)

    def __exit__(self, *exception) -> None:
        if self._word is not None:
            self._set(self._before)
