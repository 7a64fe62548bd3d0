"""The worker: a process that takes the mixture from its ring, separates, and fills a stem ring.

`python -m rtsep.live.worker` is started by the session. On its standard output it says, one JSON
object a line, what it is doing; on its standard input (<-) it is asked and told:

    <- {"build": {...}}                          the model, the engine, the device's rate ...
    {"progress": TEXT}                           while an engine is built
    {"ready": {...}}                             what it will run: names, rates, delays
    <- {"rebuffer": BLOCK}   {"rebuffer": N}     may be asked several times
    <- {"run": NAME, ...}                        the shared block's name; see `WorkerProcess.run`
    {"running": TEXT}                            what real-time set-up was granted
    {"error": TEXT, "code": N}                   and it ends

It ends when told (STOP in the block), when its input closes, or when its parent is gone. It
ignores Ctrl-C, which is its parent's to handle.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from fractions import Fraction
from importlib import import_module
from math import lcm

import numpy as np

from rtsep.errors import Failure
from rtsep.live import latency, realtime
from rtsep.live.child import on_hang_up, voice
from rtsep.live.histogram import count
from rtsep.live.layout import (
    BEAT_A,
    BEAT_B,
    BUSY,
    CAPTURE,
    CHANNELS,
    EPOCH,
    IDLE,
    IDLE_AFTER,
    IDLED,
    INVALID,
    JUMPED,
    JUMPS,
    LATENCY,
    PATIENCE,
    POSITION,
    PROCESSED,
    RATE,
    RESETS,
    RESTING,
    STEMS_A,
    STEMS_B,
    STEP_HISTOGRAM,
    STEP_MAX,
    STEPS,
    STOP,
    VALID,
    Block,
)
from rtsep.live.ring import OK, Ring
from rtsep.live.wakeup import Wakeup
from rtsep.pipeline import Pipeline

BEHIND = 0.5  # s of sound: more than that is not made up for, the worker jumps to now
QUIET = 10 ** (-70 / 20)  # no sample above this: silence
WARM_UP = 0.1  # s after a jump or at a restart: the network has heard too little for our ears
PRIORITY = 60
# s between looks of a worker that is not heard yet, or no longer: the callback wakes the other one,
# and that one can't be asked to pass it on, since it may be replaced for being late.
_UNHEARD = 0.0005


class Worker:
    """Moves sound from the capture ring through the pipeline into one stem ring.

    After `IDLE_AFTER` samples of silence it rests: what is silent is let go, flagged IDLE, until
    there is sound again. With that the pipeline starts afresh, as after endless silence, and at a
    block's first sample, as the latency's arithmetic has it.

    `epoch`: which of the run's workers it is. While another one is heard it counts nothing.
    `slots`: where its stems stand in the ring's frames (default: one after the other).
    """

    def __init__(
        self,
        pipeline: Pipeline,
        block: Block,
        ring: int = STEMS_A,
        epoch: int = 0,
        slots: list[int] | None = None,
    ):
        self._pipeline, self._block, self._epoch = pipeline, block, epoch
        self._slots = list(range(len(pipeline.stems))) if slots is None else slots
        self._capture, self._stems = Ring(block, CAPTURE), Ring(block, ring)
        self._rate, self._channels = int(block.i64[RATE]), int(block.i64[CHANNELS])
        spec = pipeline.engine.spec
        # About one step at a time, so that what is ready is handed out at once.
        self._piece = -(-spec.chunk * pipeline.rate // spec.rate)
        self._frames = np.empty((self._piece, self._capture.width), np.float32)
        self._flags = np.empty(self._piece, np.uint8)
        self._position = 0
        self._quiet = 0  # samples of silence up to the position
        self._resting = False
        self._warm = 0  # outputs before this time are not fit to be heard
        self._resets = pipeline.resets
        pipeline.on_step = self._timed

    def join(self, unit: int, warm: int | None = None) -> None:
        """Takes part in a run that is under way, of blocks of `unit` samples.

        It begins where engine, resampler and blocks are in the phases that they had at time 0, so
        that it makes what a worker makes that was there from the beginning; and so far in the past
        that after the `warm` samples that are not fit to be heard (as many as after a jump, where
        that is left open) it comes to what is played next, where that is not too much to make up
        for.
        """
        h, now = self._block.i64, self._capture.written
        warm = int(WARM_UP * self._rate) if warm is None else warm
        cycle = lcm(self._pipeline.period, unit)
        most = self._capture.capacity // 2 if h[PATIENCE] else int(BEHIND * self._rate)
        start = (now - int(h[LATENCY]) - warm) // cycle * cycle
        if now - start > most:
            start = -(-now // cycle) * cycle
        start = max(start, -(-self._stems.written // cycle) * cycle)
        if start > 0:
            self._stems.skip(start, JUMPED)
            self._warm = start + warm
        self._position = start

    @property
    def heard(self) -> bool:
        return self._block.i64[EPOCH] == self._epoch

    def advance(self) -> bool:
        """Takes a piece if there is one. False: nothing is waiting."""
        h = self._block.i64
        end = self._capture.written
        waiting = end - self._position
        if waiting <= 0:
            return False
        if waiting > BEHIND * self._rate and not h[PATIENCE]:
            self._jump(end)
            return True
        if h[IDLE_AFTER] and self._rests(end):
            return True
        n = min(waiting, self._piece)
        frames = self._frames[:n]
        if self._capture.read_into(self._position, frames, self._flags[:n]) != OK:
            self._jump(end)
            return True
        self._quiet = 0 if _peak(frames) > QUIET else self._quiet + n
        began = time.perf_counter_ns()
        stems = self._pipeline.process(np.ascontiguousarray(frames.T))
        self._write(stems)
        self._position += n
        self._count(BUSY, time.perf_counter_ns() - began)
        self._count(PROCESSED, n)
        self._tell(POSITION, self._position)
        return True

    def _rests(self, end: int) -> bool:
        """Lets the sound up to `end` go if it is silent, and has been for long."""
        if self._quiet < self._block.i64[IDLE_AFTER] or not self._silent(end):
            self._resting = False
            self._tell(RESTING, 0)
            return False
        if not self._resting:
            self._pipeline.reset()
            self._resting = True
        self._tell(RESTING, 1)
        self._count(IDLED, end - self._position)
        self._stems.skip(end, IDLE)
        self._position = end
        self._tell(POSITION, end)
        return True

    def _silent(self, end: int) -> bool:
        for start in range(self._position, end, self._piece):
            frames = self._frames[: min(self._piece, end - start)]
            status = self._capture.read_into(start, frames, self._flags[: len(frames)])
            if status != OK or _peak(frames) > QUIET:
                self._quiet = 0
                return False
        return True

    def _write(self, stems: np.ndarray) -> None:
        """Stems (stems, channels, m) to the ring."""
        m = stems.shape[-1]
        if not m:
            return
        frames = np.zeros((m, self._stems.width // self._channels, self._channels), np.float32)
        frames[:, self._slots] = np.moveaxis(stems, -1, 0)
        frames = frames.reshape(m, -1)
        start = self._stems.written
        cold = min(max(self._warm - start, 0), m)
        flag = VALID if self._pipeline.valid else INVALID
        self._count(RESETS, self._pipeline.resets - self._resets)
        self._resets = self._pipeline.resets
        if cold:
            self._stems.write(frames[:cold], JUMPED)
        if cold < m:
            self._stems.write(frames[cold:], flag)

    def _jump(self, now: int) -> None:
        """Leaves out what can't be made up for, and starts afresh at time `now`."""
        self._pipeline.reset()
        self._stems.skip(now, JUMPED)
        self._position = now
        self._warm = now + int(WARM_UP * self._rate)
        self._count(JUMPS, 1)
        self._tell(POSITION, now)

    def _count(self, slot: int, n: int) -> None:
        if self.heard:
            self._block.i64[slot] += n

    def _tell(self, slot: int, value: int) -> None:
        if self.heard:
            self._block.i64[slot] = value

    def _timed(self, ns: int) -> None:
        if not self.heard:
            return
        h = self._block.i64
        h[STEPS] += 1
        h[STEP_MAX] = max(h[STEP_MAX], ns)
        count(h, STEP_HISTOGRAM, int(ns))


def _peak(frames: np.ndarray) -> float:
    return max(frames.max(), -frames.min())


def work(worker: Worker, block: Block, wakeup: Wakeup, ring: int, orphaned=lambda: False) -> None:
    """Steps while there is something, waits while there is nothing, until told to stop.

    `wakeup`: of stem ring `ring`, which it fills.
    """
    h, beat = block.i64, (BEAT_A, BEAT_B)[ring]
    while not h[STOP] and not orphaned():
        h[beat] += 1
        if worker.advance():
            continue
        if worker.heard:
            wakeup.wait(0.05)
        else:
            time.sleep(_UNHEARD)


def build(job: dict, progress) -> Pipeline:
    """The pipeline for a job; its engine comes from `rtsep.engines`, or from a named factory."""
    channels = job["channels"]
    if job.get("factory"):
        module, _, function = job["factory"].partition(":")
        engine = getattr(import_module(module), function)(channels=channels, chunk=job["chunk"])
    else:
        from rtsep import engines
        from rtsep.checkpoints import read_spec
        from rtsep.models import find

        batch = Pipeline.batch_for(read_spec(find(job["model"])), channels)
        engine = engines.build(
            job["model"],
            job["engine"],
            chunk=job["chunk"],
            batch=batch,
            precision=job.get("precision"),
            progress=progress,
        )
    return Pipeline(
        engine,
        job["rate"],
        channels,
        filter=job.get("filter", "standard"),
        full_band=job.get("full_band", False),
    )


def describe(pipeline: Pipeline) -> dict:
    """What the session has to know of a pipeline, as JSON takes it."""
    spec = pipeline.engine.spec
    return {
        "model": spec.model,
        "engine": spec.engine,
        "precision": spec.precision,
        "engine_reason": spec.reason,
        "queue_ms": spec.queue_ms,
        "model_rate": spec.rate,
        "chunk": spec.chunk,
        "hop": spec.hop,
        "stems": list(pipeline.stems),
        "primary": pipeline.primary,
        "remainder": pipeline.remainder,
        "delay": pipeline.delay,
        "model_delay": str(Fraction(spec.latency * pipeline.rate, spec.rate)),
    }


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    say = voice()
    try:
        _converse(say)
    except Failure as failure:
        say(error=str(failure), code=failure.exit_code)
    except BrokenPipeError:
        pass  # the parent is gone
    except Exception as error:
        say(error=f"the worker failed: {type(error).__name__}: {error}", code=1)


def _converse(say) -> None:
    parent = os.getppid()
    pipeline = None
    for line in sys.stdin:
        request = json.loads(line)
        if "build" in request:
            pipeline = build(request["build"], lambda text: say(progress=text))
            _rehearse(pipeline)
            say(ready=describe(pipeline))
        elif "rebuffer" in request:
            p = pipeline
            say(rebuffer=latency.rebuffer(p.computable, p.delay, p.period, request["rebuffer"]))
        elif "run" in request:
            _run(pipeline, request, say, parent)
            break
    if pipeline is not None:
        pipeline.close()


def _run(pipeline: Pipeline, request: dict, say, parent: int) -> None:
    closed = threading.Event()
    with Block.attach(request["run"]) as block:
        ring = request["ring"]
        wakeup = Wakeup(block, ring)
        worker = Worker(
            pipeline, block, (STEMS_A, STEMS_B)[ring], request["epoch"], request["slots"]
        )
        on_hang_up(closed.set)
        granted = [realtime.settle(), realtime.stay(), realtime.hurry(PRIORITY)]
        say(running=", ".join(reversed(granted)))
        if request["begin"] is not None:
            worker.join(**request["begin"])
        work(worker, block, wakeup, ring, lambda: closed.is_set() or os.getppid() != parent)
        wakeup.close()


def _rehearse(pipeline: Pipeline) -> None:
    """A fifth of a second of silence in a block of its own, as in earnest.

    So everything is compiled, loaded and touched before the first real step.
    """
    n = pipeline.rate // 5
    with Block.create(
        rate=pipeline.rate,
        channels=pipeline.channels,
        stems=len(pipeline.stems),
        block=n,
        latency=0,
    ) as block:
        Ring(block, CAPTURE).write(np.zeros((n, pipeline.channels), np.float32))
        worker = Worker(pipeline, block)
        while worker.advance():
            pass
    pipeline.on_step = None
    pipeline.reset()


if __name__ == "__main__":
    main()
