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
from fractions import Fraction
from importlib import import_module
from math import lcm

import numpy as np

from rtsep.errors import Failure
from rtsep.live import carrier, latency, realtime
from rtsep.live.child import on_hang_up, voice
from rtsep.live.layout import (
    CAPTURE,
    CHANNELS,
    EPOCH,
    IDLE,
    IDLE_AFTER,
    IDLED,
    JUMPED,
    JUMPS,
    LATENCY,
    PATIENCE,
    POSITION,
    RATE,
    RESTING,
    STEMS_A,
    STEMS_B,
    STOP,
    Block,
)
from rtsep.live.ring import Ring
from rtsep.live.wakeup import Wakeup
from rtsep.machine import is_kept
from rtsep.pipeline import Pipeline

BEHIND = 0.5  # s of sound: more than that is not made up for, the worker jumps to now
WARM_UP = 0.1  # s after a jump or at a restart: the network has heard too little for our ears
PRIORITY = 60


class Worker:
    """Moves sound from the capture ring through the pipeline into one stem ring.

    After `IDLE_AFTER` samples of silence it rests: what is silent is let go, flagged IDLE, until
    there is sound again. With that the pipeline starts afresh, as after endless silence, and at a
    block's first sample, as the latency's arithmetic has it.

    `epoch`: which of the run's workers it is. While another one is heard it counts nothing.
    `slots`: where its stems stand in the ring's frames (default: one after the other).

    What it does all the time is compiled (`carrier.py`); what happens rarely is here.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        block: Block,
        ring: int = STEMS_A,
        epoch: int = 0,
        slots: list[int] | None = None,
        wakeup: int = 0,
    ):
        """`wakeup`: the address of the semaphore that `work` waits on."""
        self._pipeline, self._block = pipeline, block
        self._capture, self._stems = Ring(block, CAPTURE), Ring(block, ring)
        self._rate, channels = int(block.i64[RATE]), int(block.i64[CHANNELS])
        self._resting = False
        spec = pipeline.engine.spec
        # About one step at a time, so that what is ready is handed out at once.
        piece = -(-spec.chunk * pipeline.rate // spec.rate)
        most = piece + pipeline.latency
        stems = len(pipeline.stems)
        self._at = np.zeros(carrier.COUNTS, np.int64)
        self._at[[carrier.NUMBER, carrier.RING, carrier.WAKEUP]] = epoch, ring, wakeup
        self._carrier = carrier.Carrier(
            passage=pipeline.passage,
            at=self._at,
            h=block.i64,
            f32=block.f32,
            u8=block.u8,
            slots=np.array(range(stems) if slots is None else slots, np.int64),
            most=int(BEHIND * self._rate),
            frames=np.zeros((piece, channels), np.float32),
            flags=np.zeros(piece, np.uint8),
            sound=np.zeros((channels, piece), np.float32),
            stems=np.zeros((stems, channels, most), np.float32),
            out=np.zeros((most, self._stems.width), np.float32),
        )

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
            self._at[carrier.WARM] = start + warm
        self._at[carrier.HERE] = start

    def work(self, orphaned=lambda: False) -> None:
        """Carries, and waits while there is nothing, until told to stop."""
        while not orphaned():
            event = carrier.carry(self._carrier, False)
            if event == carrier.STOPPED:
                return
            self._see_to(event)

    def advance(self) -> bool:
        """Takes a piece if there is one. False: nothing is waiting."""
        event = carrier.carry(self._carrier, True)
        self._see_to(event)
        return event != carrier.WAITING

    def _see_to(self, event: int) -> None:
        if event == carrier.BEHIND:
            self._jump(self._capture.written)
        elif event == carrier.SILENT:
            self._rest(self._capture.written)
        elif event == carrier.RAISED:
            self._pipeline.check()

    def _rest(self, end: int) -> None:
        """Lets the sound up to `end` go if it is silent."""
        c, begin = self._carrier, int(self._at[carrier.HERE])
        if not carrier.silent(c.h, c.f32, c.u8, begin, end, c.frames, c.flags):
            self._resting = False
            self._at[carrier.QUIET_FOR] = 0
            self._tell(RESTING, 0)
            return
        if not self._resting:
            self._pipeline.reset()
            self._resting = True
        self._tell(RESTING, 1)
        self._count(IDLED, end - begin)
        self._stems.skip(end, IDLE)
        self._go_to(end)

    def _jump(self, now: int) -> None:
        """Leaves out what can't be made up for, and starts afresh at time `now`."""
        self._pipeline.reset()
        self._stems.skip(now, JUMPED)
        self._at[carrier.WARM] = now + int(WARM_UP * self._rate)
        self._count(JUMPS, 1)
        self._go_to(now)

    def _go_to(self, time: int) -> None:
        self._at[carrier.HERE] = time
        self._tell(POSITION, time)

    @property
    def _heard(self) -> bool:
        return self._block.i64[EPOCH] == self._at[carrier.NUMBER]

    def _count(self, slot: int, n: int) -> None:
        if self._heard:
            self._block.i64[slot] += n

    def _tell(self, slot: int, value: int) -> None:
        if self._heard:
            self._block.i64[slot] = value


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
            if not is_kept("carrier.carry"):
                say(progress="compiling the worker, once")
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
            pipeline,
            block,
            (STEMS_A, STEMS_B)[ring],
            request["epoch"],
            request["slots"],
            wakeup.address,
        )
        on_hang_up(closed.set)
        granted = [realtime.settle(), realtime.stay(), realtime.hurry(PRIORITY)]
        say(running=", ".join(reversed(granted)))
        if request["begin"] is not None:
            worker.join(**request["begin"])
        worker.work(lambda: closed.is_set() or os.getppid() != parent)
        wakeup.close()


def _rehearse(pipeline: Pipeline) -> None:
    """A fifth of a second of silence in a block of its own, as in earnest, and the same at rest.

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
        worker = Worker(pipeline, block)
        for idle_after in (0, 1):
            block.i64[IDLE_AFTER] = idle_after
            Ring(block, CAPTURE).write(np.zeros((n, pipeline.channels), np.float32))
            while worker.advance():
                pass
        block.i64[STOP] = 1
        worker.work()
        del worker  # it looks at the block's memory, which could not be let go of
    pipeline.reset()


if __name__ == "__main__":
    main()
