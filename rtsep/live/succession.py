"""The workers of a run, one after the other: a dead or hung one is replaced, as long as that helps,
and one with another model may follow while the last one goes on.

The block has two stem rings: one is heard, the other is free for the next worker. That one joins
the run in the phases of the first (see `Worker.join`), and is heard once it is warm; until then the
callback goes on with the last one, or dry where that is gone. Rings are addressed by time, so
nothing shifts, and what is ready too early is simply not read yet.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial

from rtsep.errors import Failure
from rtsep.live.layout import (
    ACTIVE,
    AWAITED,
    BLOCK,
    CAPTURE,
    COMPANY,
    CROSS,
    DEAD,
    EPOCH,
    FADE,
    LATENCY,
    NEXT_LATENCY,
    NOBODY,
    PLAYED,
    RATE,
    RUNNING,
    STOP,
    WORKER,
    Block,
)
from rtsep.live.process import WorkerProcess
from rtsep.live.pulse import LOOK, Pulse, in_time, warm
from rtsep.live.ring import written
from rtsep.live.wakeup import Wakeup

HUNG = 2.0  # s without a beat, and a chunk's time: a worker that is slow makes steps all the same
DEATHS, WITHIN = 3, 60.0  # so many deaths within so many seconds: it would go on like that
_PUNCTUAL = 5  # looks in a row at which a worker has to be in time, before it follows another one
_LATEST = 15.0  # s of sound, beside its warm-up, in which it has to
_STILL = 5.0  # s in which no sound goes through: then nobody waits for that


@dataclass
class Change:
    """A worker that is to follow the one that is heard; its engine is built.

    `latency`: internal, what the run is to have from then on, at least what it has. `warm`: samples
    in which its state fills. `moment` is entered for the change itself, and may refuse; `adopt` is
    called in it, just before the first block of the new one. `done` gets the outcome.
    """

    process: WorkerProcess
    job: dict
    info: dict
    slots: list[int]
    latency: int
    warm: int
    moment: AbstractContextManager
    adopt: Callable[[], None]
    done: Future = field(default_factory=Future)


class Workers:
    """Attributes: `process`, the worker that is heard; `events`, (seconds of sound, what happened)
    in order; `restarts`; `error`, why there was no worker any more, once that was given up; `look`,
    called every now and then while one is heard."""

    def __init__(self, process: WorkerProcess | None = None):
        self.process = process or WorkerProcess()
        self.events: list[tuple[float, str]] = []
        self.restarts = 0
        self.error: str | None = None
        self.look: Callable[[], None] = lambda: None
        self._job: dict = {}
        self._info: dict = {}
        self._slots: list[int] | None = None
        self._ring, self._unit = 0, 1
        self._block: Block | None = None
        self._wakeups: list[Wakeup] = []
        self._deaths: deque[float] = deque(maxlen=DEATHS)
        self._change: Change | None = None
        self._successor: WorkerProcess | None = None
        self._given_up = False
        self._ending, self._news = threading.Event(), threading.Event()
        self._lock = threading.Lock()  # of `_successor` and `_change`, against the end
        self._thread = threading.Thread(target=self._watch, name="workers", daemon=True)

    def build(self, job: dict, progress: Callable[[str], None]) -> dict:
        """The first worker's engine; what it will run. Raises what went wrong."""
        self._info = self.process.build(job, progress)
        self._job = job
        return self._info

    def start(self, block: Block, wakeups: list[Wakeup], unit: int) -> str:
        """Sets it to work on blocks of `unit` samples (1: of any), and watches it; what real-time
        set-up it was granted. `wakeups`: of both stem rings' workers."""
        granted = self.process.run(block)
        self._block, self._wakeups, self._unit = block, wakeups, unit
        block.i64[EPOCH], block.i64[WORKER] = 1, RUNNING
        self.process.on_death = self._died
        self._thread.start()
        return granted

    def follow(self, change: Change) -> None:
        """Has another worker follow, soon. Raises `Failure` where one is about to already."""
        with self._lock:
            if self._ending.is_set() or self._block is None:
                raise Failure("the run is over")
            if self._change is not None:
                raise Failure("another model is about to be heard already")
            self._change, self._successor = change, change.process
        self._news.set()

    def settle(self) -> None:
        """The run ends: nobody follows any more."""
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

    def tell(self, text: str) -> None:
        """Adds to `events`."""
        if self._block is not None:
            h = self._block.i64
            self.events.append((written(h, CAPTURE) / float(h[RATE]), text))

    def _died(self) -> None:
        """Tells the callback at once, on whichever thread this is."""
        block = self._block
        if block is not None and not self._ending.is_set() and self.process.dead:
            block.i64[WORKER] = AWAITED
        self._news.set()

    def _watch(self) -> None:
        while True:
            pulse = self._pulse(self._ring)
            going = not self._given_up
            while self._change is None and not (going and (self.process.dead or pulse.stopped())):
                if self._pause():
                    self._refuse("the run is over")
                    return
                if going:
                    self.look()
            if self._change is not None:
                self._exchange(self._change)
            else:
                self._replace()

    def _pause(self) -> bool:
        """Until the next look; whether there is none."""
        self._news.wait(LOOK)
        self._news.clear()
        return self._ending.is_set()

    def _pulse(self, ring: int) -> Pulse:
        return Pulse(self._block, ring, HUNG + self._info["chunk"] / self._info["model_rate"])

    def _replace(self) -> None:
        """Until another worker of the same kind is heard, or that is given up."""
        h, began = self._block.i64, time.monotonic()
        h[WORKER] = AWAITED
        reason = self.process.last_words if self.process.dead else _HANGS
        _end(self.process)
        while not self._ending.is_set():
            now = time.monotonic()
            self._deaths.append(now)
            if len(self._deaths) == DEATHS and now - self._deaths[0] < WITHIN:
                self.error = f"{reason}, and it was the third within a minute"
                self.tell(f"{self.error}: no other one is tried, the sound goes on dry")
                break
            self.tell(f"{reason}: another one is started, the sound goes on dry until then")
            process = self._make()
            if process is None:
                break
            try:
                process.build(self._job, lambda text: None)
                ring = self._join(process, self._slots, {"unit": self._unit})
                self._await(process, ring, partial(warm, self._block, ring))
            except Failure as failure:
                reason = str(failure)
                _end(process)
                continue
            self._hear(process, ring)
            self.restarts += 1
            self.tell(f"another worker is heard, after {time.monotonic() - began:.1f} s")
            return
        self._given_up = True
        h[WORKER] = DEAD

    def _make(self) -> WorkerProcess | None:
        """A new process; None: the run ends."""
        with self._lock:
            if self._ending.is_set():
                return None
            self._successor = WorkerProcess()
            return self._successor

    def _exchange(self, change: Change) -> None:
        """Until the worker of a change is heard, or turned out to be no good."""
        h, process = self._block.i64, change.process
        try:
            ring = self._join(process, change.slots, {"unit": self._unit, "warm": change.warm})
            self._await(process, ring, self._punctual(ring, change))
            with change.moment:
                last, alive = self.process, not self.process.dead
                if change.latency > h[LATENCY]:
                    self._lengthen(change.latency)
                change.adopt()
                self._job, self._info, self._slots = change.job, change.info, change.slots
                self._hear(process, ring, company=alive)
                if alive:
                    # Until it is not heard any more.
                    self._pass(h[CROSS] + 2 * h[BLOCK])
                    h[COMPANY] = 0
                last.on_death = lambda: None
                last.stop()
        except Failure as failure:
            h[COMPANY] = 0
            self._refuse(str(failure))
            _end(process)
        else:
            with self._lock:
                self._change = None
            change.done.set_result(None)

    def _refuse(self, reason: str) -> None:
        with self._lock:
            change, self._change, self._successor = self._change, None, None
        if change is not None:
            change.done.set_exception(Failure(reason))

    def _punctual(self, ring: int, change: Change) -> Callable[[], bool]:
        """Whether a worker is warm, and was in time at several looks in a row."""
        h, streak = self._block.i64, 0
        latest = written(h, CAPTURE) + change.warm + int(_LATEST * h[RATE])

        def look() -> bool:
            nonlocal streak
            streak = streak + 1 if in_time(self._block, ring, change.latency) else 0
            if written(h, CAPTURE) > latest:
                raise Failure(f"{change.info['model']} is too slow here: it was never in time")
            return streak >= _PUNCTUAL

        return look

    def _join(self, process: WorkerProcess, slots: list[int] | None, begin: dict) -> int:
        """Sets a successor to work, unheard, on the free stem ring; which one that is."""
        h, ring = self._block.i64, 1 - self._ring
        process.run(self._block, ring, int(h[EPOCH]) + 1, slots, begin)
        h[COMPANY] = 1 + ring
        return ring

    def _await(self, process: WorkerProcess, ring: int, fit: Callable[[], bool]) -> None:
        """Until a successor is fit to be heard. Raises `Failure` where it won't be."""
        pulse, last = self._pulse(ring), self._pulse(self._ring)
        while not fit():
            if process.dead:
                raise Failure(process.last_words)
            if pulse.stopped():
                raise Failure(_HANGS)
            if not self.process.dead and last.stopped():
                self.process.kill()
            if self.process.dead and self._change is not None:
                # Of a model whose state fills for long a clock that waits would wait for ever: it
                # goes on dry.
                self._block.i64[WORKER] = DEAD
            if self._pause():
                raise Failure("the run is over")

    def _lengthen(self, latency: int) -> None:
        """Announced, since it can be heard: stems fade to dry, and dry comes later from then on."""
        h = self._block.i64
        more = latency - int(h[LATENCY])
        self.tell(
            f"the latency becomes {1000 * more / h[RATE]:.2f} ms longer ({more} samples): the "
            "sound is dry for a moment"
        )
        h[ACTIVE] = NOBODY
        self._pass(h[FADE] + h[BLOCK])
        h[NEXT_LATENCY] = latency
        self._pass(h[CROSS] + 2 * h[BLOCK])

    def _pass(self, samples: int) -> None:
        """Until so many samples have gone through since."""
        h = self._block.i64
        seen, until = -1, 0.0
        end = written(h, PLAYED) + samples
        while (now := written(h, PLAYED)) < end:
            if now != seen:
                seen, until = now, time.monotonic() + _STILL
            if self._ending.is_set() or time.monotonic() > until:
                return
            time.sleep(0.002)

    def _hear(self, process: WorkerProcess, ring: int, company: bool = False) -> None:
        """From the next block on; `company`: the last one is still there."""
        h = self._block.i64
        with self._lock:
            self.process, self._successor = process, None
        self._ring, self._given_up = ring, False
        process.on_death = self._died
        self._wakeups[ring].lead()
        h[COMPANY] = 1 + (1 - ring) if company else 0
        h[EPOCH] += 1
        h[ACTIVE] = ring
        h[WORKER] = RUNNING


_HANGS = f"the worker hung for {HUNG:g} s"


def _end(process: WorkerProcess) -> None:
    """The hard way: of one that hangs nothing else can be hoped for."""
    process.kill()
    process.stop()
