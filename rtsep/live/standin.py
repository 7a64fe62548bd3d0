"""The simulated clock in the place of a device that is gone: it calls the run's gate."""

from __future__ import annotations

import threading

import numpy as np

from rtsep.live import realtime
from rtsep.live.callback import COMPLETE
from rtsep.live.clock import Pace
from rtsep.live.gate import Gate, bound
from rtsep.live.layout import (
    CAPTURE,
    CHANNELS,
    FADE,
    FALL,
    IN_CHANNEL,
    INPUT_RAMP,
    INPUTS,
    OUTPUTS,
    RATE,
    Block,
)
from rtsep.live.ring import OK, Ring

PRIORITY = 70


class StandIn:
    """Calls in real time from now on, `size` frames at once; what comes out is heard by nobody.

    What goes in is silence: the device's last 5 ms, played backwards, lead there without a step.
    `over` is set when the run is complete.
    """

    def __init__(self, block: Block, gate: Gate, size: int):
        self._block, self._gate, self._size = block, gate, size
        self.over = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._main, name="stand-in", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """It has made its last call."""
        self._stop.set()
        self._thread.join()

    def _main(self) -> None:
        realtime.hurry(PRIORITY)
        h, call, n = self._block.i64, bound(), self._size
        x = np.zeros((n, int(h[INPUTS])), np.float32)
        y = np.zeros((n, int(h[OUTPUTS])), np.float32)
        seconds = n / int(h[RATE])
        pace = Pace(max(seconds / 2, 0.0005))
        rest = _tail(self._block)
        while not self._stop.is_set():
            pace.wait(seconds)
            part, rest = rest[:n], rest[n:]
            x[: len(part)], x[len(part) :] = part, 0
            if call(x.ctypes.data, y.ctypes.data, n, None, 0, self._gate.address) == COMPLETE:
                self.over.set()
                return


def _tail(block: Block) -> np.ndarray:
    """(5 ms, inputs) that lead from the last sound that was captured to silence."""
    h, x = block.i64, block.f64
    n, channels, ring = int(h[FADE]), int(h[CHANNELS]), Ring(block, CAPTURE)
    tail = np.zeros((n, int(h[INPUTS])), np.float32)
    status, frames, _ = ring.read(ring.written - n, n)
    gain = x[INPUT_RAMP + 1]  # it is applied once more
    if status == OK and gain:
        fall = block.f32[h[FALL] : h[FALL] + n]
        tail[:, h[IN_CHANNEL : IN_CHANNEL + channels]] = frames[::-1] * fall[:, None] / gain
    return tail
