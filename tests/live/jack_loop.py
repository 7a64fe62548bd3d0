"""A cable: a client of a JACK server that gives back what it hears, a known time later.

The server itself adds a period: it breaks the loop there.
"""

from __future__ import annotations

import numpy as np
from jack_card import Server, activate, jack, pointer
from llvmlite import binding
from numba import carray, cfunc, types

from rtsep.machine import pointer_to

_IN, _OUT, _DELAY, _AT, _SEED = range(5)
_GAIN, _NOISE = 8, 9  # float64
_FLOATS = 32  # where the ring lies, in words of 4 bytes
_RING = 1 << 17
_WORDS = 1 << 40


def _compiled():
    binding.load_library_permanently(jack._libname)
    buffer = types.ExternalFunction(
        "jack_port_get_buffer", types.voidptr(types.voidptr, types.uint32)
    )

    @cfunc(types.int32(types.uint32, types.voidptr))
    def process(frames, user):
        h = carray(user, (_WORDS,), np.int64)
        f32 = carray(user, (_WORDS,), np.float32)
        f64 = carray(user, (_WORDS,), np.float64)
        n, at, gain, noise = np.int64(frames), h[_AT], f64[_GAIN], f64[_NOISE]
        heard = carray(buffer(pointer_to(h[_IN]), frames), (n,), np.float32)
        out = carray(buffer(pointer_to(h[_OUT]), frames), (n,), np.float32)
        for i in range(n):
            f32[_FLOATS + ((at + i) & (_RING - 1))] = heard[i]
        for i in range(n):
            h[_SEED] = (h[_SEED] * 1103515245 + 12345) & 0x7FFFFFFF
            out[i] = gain * f32[_FLOATS + ((at + i - h[_DELAY]) & (_RING - 1))]
            out[i] += noise * ((h[_SEED] >> 8) / 0x3FFFFF - 1)
        h[_AT] = at + n
        return 0

    return process


class Loop:
    """`delay` in samples, `gain` a factor; `noise`: what it adds, at its peak. As a context
    manager."""

    def __init__(self, server: Server, delay: int, gain: float = 1.0, noise: float = 0.0):
        self._memory = np.zeros((_FLOATS + _RING) // 2, np.int64)
        self.client = jack.Client("loop", no_start_server=True, servername=server.name)
        ports = self.client.inports.register("in"), self.client.outports.register("out")
        h = self._memory
        h[[_IN, _OUT]] = [pointer(port).value for port in ports]
        h[_DELAY] = delay
        h.view(np.float64)[[_GAIN, _NOISE]] = gain, noise
        self._process = _compiled()
        activate(self.client, ports, self._process, h, server.period)

    def __enter__(self) -> Loop:
        return self

    def __exit__(self, *_) -> None:
        self.client.deactivate()
        self.client.close()
