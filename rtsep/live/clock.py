"""The simulated clock: drives the compiled callback where there is no device."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterable

import numpy as np

from rtsep.live import realtime
from rtsep.live.callback import COMPLETE, bound
from rtsep.live.layout import FINISH, INPUTS, LATENCY, OUTPUTS, PATIENCE, RATE, Block

PRIORITY = 70
_FOREVER = 1 << 40  # ms


class SimulatedClock:
    """Feeds `source` to the callback block by block, and what comes out to `sink`.

    Paced, it calls in real time, as a device would; else as fast as the worker allows, and the
    callback waits for its stems. `blocks` is one size or a series of sizes that repeats. When the
    source ends, silence follows for as long as the internal latency, and the run is over; `limit`
    ends the source after so many samples.

    A device hands over sound when its time has come. This one can be held up by a busy machine:
    it then catches up by less than a block, so that the worker's deadline stays what it is, and
    counts in `stalls` how often it had to let real time go by.
    """

    def __init__(
        self,
        block: Block,
        source,
        sink=None,
        *,
        blocks: int | Iterable[int],
        paced: bool,
        limit: int | None = None,
    ):
        self._block, self._source, self._sink = block, source, sink
        self._blocks = [blocks] if isinstance(blocks, int) else list(blocks)
        self._paced, self._limit = paced, limit
        self._tail = int(block.i64[LATENCY])
        self.stalls = 0
        self.samples = 0  # given to the callback so far, without what only fills the last block
        self.error: Exception | None = None
        self.ended: str | None = None  # a device's reason to end by itself: this has none
        self._thread = threading.Thread(target=self._main, name="clock", daemon=True)
        if not paced:
            block.i64[PATIENCE] = _FOREVER

    def start(self) -> None:
        self._thread.start()

    def extend(self, samples: int) -> None:
        """The internal latency has become so much longer: so does the run."""
        self._tail += samples

    def stop(self) -> None:
        """Ends the run at the next block."""
        self._block.i64[FINISH] = 1

    def join(self, seconds: float | None = None) -> bool:
        """Whether it doesn't run (any more), after waiting for that for at most so long."""
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _main(self) -> None:
        if self._paced:
            realtime.hurry(PRIORITY)
        try:
            self._run()
        except Exception as error:
            self.error = error

    def _run(self) -> None:
        h, call, user = self._block.i64, bound(), self._block.address
        rate = int(h[RATE])
        inputs, outputs = int(h[INPUTS]), int(h[OUTPUTS])
        largest = max(self._blocks)
        pace = Pace(max(min(self._blocks) // 2 / rate, 0.0005))
        x = np.zeros((largest, inputs), np.float32)
        y = np.zeros((largest, outputs), np.float32)
        end = None  # of the run, once the source's is known
        for n in itertools.cycle(self._blocks):
            if end is None:
                taken = self._take(x[:n])
                if taken < n:
                    end = self.samples + taken + self._tail
            else:
                x[:n] = 0
            if self._paced:
                pace.wait(n / rate)
                self.stalls = pace.stalls
            code = call(x.ctypes.data, y.ctypes.data, n, None, 0, user)
            kept = n if end is None else min(n, end - self.samples)
            if self._sink is not None:
                self._sink.write(y[:kept])
            self.samples += kept
            if code == COMPLETE or self.samples == end:
                return

    def _take(self, x: np.ndarray) -> int:
        """Fills x from the source, with silence past its end; how much there was."""
        n = len(x)
        if self._limit is not None:
            n = min(n, self._limit - self.samples)
        part = self._source.read(n)
        x[: len(part)] = part
        x[len(part) :] = 0
        return len(part)


class Pace:
    """Real time, for calls that come when theirs has come: the next is due at `due`.

    Who is held up catches up by less than `slack` (s); what goes beyond is let go, and counted.
    """

    def __init__(self, slack: float):
        self._slack, self.stalls = slack, 0
        self._due = time.perf_counter()

    def wait(self, seconds: float) -> None:
        """Until so long after the call before was due."""
        due = self._due + seconds
        now = time.perf_counter()
        if due > now:
            time.sleep(due - now)
            now = time.perf_counter()
        if now - due > self._slack:
            self.stalls += 1
            due = now - self._slack
        self._due = due
