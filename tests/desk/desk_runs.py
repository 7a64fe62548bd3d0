"""A desk before a block that a test fills: no run, but the real block and a real socket."""

from __future__ import annotations

import socket
from contextlib import contextmanager

import numpy as np

from rtsep.desk.app import Desk
from rtsep.desk.link import Hello, Lines, line
from rtsep.live import layout as at
from rtsep.live.controls import Controls
from rtsep.live.description import describe
from rtsep.live.histogram import count
from rtsep.live.layout import STEMS_A, Block
from rtsep.live.ring import Ring

RATE = 48000
PARTS = ("device_in", "rebuffer", "queue", "resample", "model", "device_out")
HELLO = Hello("street.flac", "none", "paced", "SCHED_FIFO 60, memory locked", False)


class Table:
    """A block as a run leaves it, and the run's end of the socket."""

    def __init__(self, stems=("voice", "background")):
        self.stems = tuple(stems)
        self.block = Block.create(
            rate=RATE, channels=1, stems=len(stems), block=256, latency=1184, seconds=0.5
        )
        self.describe(stems)
        self.controls = Controls(self.block)
        self.ours, self.theirs = socket.socketpair()
        self.ours.settimeout(10)
        self._lines, self._heard = Lines(), []

    def describe(self, stems, **more):
        numbers = dict(zip(PARTS, (0, 192, 512, 96, 192, 0), strict=True))
        describe(
            self.block,
            {
                "model": "convtasnet",
                "engine": "onnxruntime",
                "stems": list(stems),
                "primary": stems[0],
                "remainder": stems[-1],
                "rate": RATE,
                "model_rate": 16000,
                "channels": 1,
                "chunk": 64,
                "latency": numbers | {"internal": 1184, "total": 1184},
                "deadline_ms": 10.67,
                "device": None,
                "routed": False,
                "pid": 1,
            }
            | more,
        )

    def sound(self, *levels):
        """A tenth of a second of stems at these levels (factors)."""
        n = len(self.stems)
        tone = np.sin(np.arange(9600)[:, None]) * np.resize(levels, n) * 2**0.5
        Ring(self.block, STEMS_A).write(tone.astype(np.float32))
        Ring(self.block, at.CAPTURE).write(np.zeros((4800, 1), np.float32))
        self.block.f64[[at.IN_PEAK, at.OUT_PEAK]] = 0.5, 0.25

    def stepped(self, ms, times=1):
        for _ in range(times):
            count(self.block.i64, at.STEP_HISTOGRAM, int(ms * 1e6))
        self.block.i64[at.STEP_MAX] = max(int(self.block.i64[at.STEP_MAX]), int(ms * 1e6))

    def missed(self, cause, times, seconds):
        self.block.i64[at.MISSES + cause] += times
        self.block.i64[at.LAST_MISS] = round(seconds * RATE)

    def say(self, **message):
        self.ours.sendall(line(**message))

    def asked(self, kind):
        """The next request of a kind."""
        while True:
            while self._heard:
                message = self._heard.pop(0)
                if kind in message:
                    return message[kind]
            self._heard += self._lines.feed(self.ours.recv(1 << 14))

    def close(self):
        self.ours.close()
        self.theirs.close()
        self.block.close()


@contextmanager
def laid(*args, **kwargs):
    table = Table(*args, **kwargs)
    try:
        yield table, Desk(table.block, table.theirs)
    finally:
        table.close()
