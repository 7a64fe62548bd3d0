"""The workers of a run, one after the other: a dead or hung one is replaced, as long as that helps.

The block has two stem rings: one is heard, the other is free for the next worker. That one joins
the run in the phases of the first (see `Worker.join`), and is heard once it is warm; until then the
callback goes on dry. Rings are addressed by time, so nothing shifts.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from rtsep.errors import Failure
from rtsep.live.layout import (
    ACTIVE,
    AWAITED,
    BEAT_A,
    BEAT_B,
    CAPTURE,
    DEAD,
    EPOCH,
    JUMPED,
    PATIENCE,
    RATE,
    RUNNING,
    STEMS_A,
    STEMS_B,
    STOP,
    WORKER,
    Block,
)
from rtsep.live.process import WorkerProcess
from rtsep.live.ring import OK, Ring, written

HUNG = 2.0  # s without a beat, and a chunk's time: a worker that is slow makes steps all the same
_PATIENT = 15  # times that, on a clock that waits for its worker
DEATHS, WITHIN = 3, 60.0  # so many deaths within so many seconds: it would go on like that
_LOOK = 0.05  # s between two looks at the worker


class Workers:
    """Attributes: `process`, the worker that is heard; `events`, (seconds of sound, what happened)
    in order; `restarts`; `error`, why there is no worker any more, once it is given up."""

    def __init__(self, process: WorkerProcess | None = None):
        self.process = process or WorkerProcess()
        self.events: list[tuple[float, str]] = []
        self.restarts = 0
        self.error: str | None = None
        self._job: dict = {}
        self._limit = HUNG
        self._unit = 1
        self._block: Block | None = None
        self._deaths: deque[float] = deque(maxlen=DEATHS)
        self._successor: WorkerProcess | None = None
        self._ending, self._news = threading.Event(), threading.Event()
        self._lock = threading.Lock()  # of `_successor`, against the end
        self._thread = threading.Thread(target=self._watch, name="workers", daemon=True)

    def build(self, job: dict, progress: Callable[[str], None]) -> dict:
        """The first worker's engine; what it will run. Raises what went wrong."""
        info = self.process.build(job, progress)
        self._job = job
        self._limit = HUNG + info["chunk"] / info["model_rate"]
        return info

    def start(self, block: Block, unit: int) -> str:
        """Sets it to work on blocks of `unit` samples (1: of any), and watches it; what real-time
        set-up it was granted."""
        granted = self.process.run(block)
        self._block, self._unit = block, unit
        block.i64[EPOCH], block.i64[WORKER] = 1, RUNNING
        self.process.on_death = self._died
        self._thread.start()
        return granted

    def settle(self) -> None:
        """The run ends: nobody is replaced any more."""
        with self._lock:
            self._ending.set()
            if self._successor is not None:
                self._successor.kill()
        self._news.set()
        if self._thread.ident is not None:
            self._thread.join()

    def stop(self) -> None:
        """Ends all of them. May be called again."""
        self.settle()
        if self._block is not None:
            self._block.i64[STOP] = 1
        self.process.stop()
        self._block = None

    def _died(self) -> None:
        """Tells the callback at once, on whichever thread this is."""
        block = self._block
        if block is not None and not self._ending.is_set() and self.process.dead:
            block.i64[WORKER] = AWAITED
        self._news.set()

    def _watch(self) -> None:
        going = True
        while going:
            pulse = _Pulse(self._block, int(self._block.i64[ACTIVE]), self._limit)
            while not (self.process.dead or pulse.stopped()):
                if self._pause():
                    return
            going = self._replace()

    def _pause(self) -> bool:
        """Until the next look; whether there is none."""
        self._news.wait(_LOOK)
        self._news.clear()
        return self._ending.is_set()

    def _replace(self) -> bool:
        """Until another worker is heard; False: there will be none."""
        h, began = self._block.i64, time.monotonic()
        h[WORKER] = AWAITED
        if self.process.dead:
            reason = self.process.last_words
        else:
            reason = f"the worker hung for {self._limit:.1f} s"
        self._end(self.process)
        ring = 1 - int(h[ACTIVE])
        while not self._ending.is_set():
            now = time.monotonic()
            self._deaths.append(now)
            if len(self._deaths) == DEATHS and now - self._deaths[0] < WITHIN:
                self.error = f"{reason}, and it was the third within a minute"
                self._tell(f"{self.error}: no other one is tried, the sound goes on dry")
                break
            self._tell(f"{reason}: another one is started, the sound goes on dry until then")
            process = self._make()
            if process is None:
                break
            try:
                process.build(self._job, lambda text: None)
                process.run(self._block, ring, int(h[EPOCH]) + 1, {"unit": self._unit})
                self._await(process, ring)
            except Failure as failure:
                reason = str(failure)
                self._end(process)
                continue
            self._heard(process, ring)
            self.restarts += 1
            self._tell(f"another worker is heard, after {time.monotonic() - began:.1f} s")
            return True
        h[WORKER] = DEAD
        return False

    def _make(self) -> WorkerProcess | None:
        """A new process; None: the run ends."""
        with self._lock:
            if self._ending.is_set():
                return None
            self._successor = WorkerProcess()
            return self._successor

    def _await(self, process: WorkerProcess, ring: int) -> None:
        """Until the last that it wrote is fit to be heard. Raises `Failure` where it won't be."""
        pulse, stems = _Pulse(self._block, ring, self._limit), _ring(self._block, ring)
        while True:
            end = stems.written
            status, _, flags = stems.read(end - 1, 1)
            if end > 0 and status == OK and flags[0] != JUMPED:
                return
            if process.dead:
                raise Failure(process.last_words)
            if pulse.stopped():
                raise Failure(f"the worker hung for {self._limit:.1f} s")
            if self._pause():
                raise Failure("the run ends")

    def _heard(self, process: WorkerProcess, ring: int) -> None:
        """From the next block on."""
        h = self._block.i64
        with self._lock:
            self.process, self._successor = process, None
        process.on_death = self._died
        h[EPOCH] += 1
        h[ACTIVE] = ring
        h[WORKER] = RUNNING

    def _end(self, process: WorkerProcess) -> None:
        """The hard way: of one that hangs nothing else can be hoped for."""
        process.kill()
        process.stop()

    def _tell(self, text: str) -> None:
        h = self._block.i64
        self.events.append((written(h, CAPTURE) / float(h[RATE]), text))


class _Pulse:
    """Whether the worker of a stem ring does not get round to anything any more."""

    def __init__(self, block: Block, ring: int, limit: float):
        self._h, self._slot = block.i64, (BEAT_A, BEAT_B)[ring]
        self._limit = limit * (_PATIENT if block.i64[PATIENCE] else 1)
        self._beat, self._looked, self._still = -1, time.monotonic(), 0.0

    def stopped(self) -> bool:
        beat, now = int(self._h[self._slot]), time.monotonic()
        # In small steps: this process may have been stopped, and the worker with it.
        self._still = 0 if beat != self._beat else self._still + min(now - self._looked, 4 * _LOOK)
        self._beat, self._looked = beat, now
        return self._still >= self._limit


def _ring(block: Block, ring: int) -> Ring:
    return Ring(block, (STEMS_A, STEMS_B)[ring])
