"""One live run: worker, block, clock and recorder put together, and what came of it."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import astuple
from fractions import Fraction
from pathlib import Path

from rtsep import untrained
from rtsep.checkpoints import read_spec
from rtsep.errors import WrongCall
from rtsep.live import layout
from rtsep.live.clock import SimulatedClock
from rtsep.live.controls import Controls
from rtsep.live.delivery import Delivery
from rtsep.live.description import describe
from rtsep.live.device_clock import DeviceClock
from rtsep.live.fallback import Fallback, lighter
from rtsep.live.feedback import howls
from rtsep.live.latency import Latency, check_queue, default_queue
from rtsep.live.layout import Block
from rtsep.live.options import DEFAULT_BLOCK, Options
from rtsep.live.process import WorkerProcess
from rtsep.live.recorder import rehearse
from rtsep.live.runs import announce, withdraw
from rtsep.live.status import Status
from rtsep.live.succession import Workers
from rtsep.live.summary import summary
from rtsep.live.swapping import ROOM, Made, Slots, Swaps, adopt, check_routes, key, padded
from rtsep.live.takes import Takes
from rtsep.live.wakeup import Wakeup
from rtsep.live.wiring import Wiring, straight
from rtsep.models import find

ON_MISS = {"dry": layout.DRY, "silence": layout.SILENCE}
_RECORDED = 10.2  # s that the rings hold while recording: the disk may stall for 10
_HELD = 2.0


class Session:
    """A run from a source to a sink (see `feeds.py`) on the simulated clock, or on a device.

    A `device` (see `device_clock.py`) is open already, and stands for the source, the sink or both.
    `wiring`: between the channels of source and sink and the `channels` that are separated.

    Making it builds the engine and fixes the latency; `start` begins, `join` waits, `finish` ends
    and tells. As a context manager it leaves nothing behind, whatever happens. A `process` that was
    started earlier has loaded its libraries by now; the session ends it.
    """

    def __init__(
        self,
        source,
        sink,
        rate: int,
        channels: int,
        options: Options,
        progress: Callable[[str], None] = lambda text: None,
        process: WorkerProcess | None = None,
        *,
        wiring: Wiring | None = None,
        device: DeviceClock | None = None,
    ):
        self.options, self.rate, self.channels = options, rate, channels
        self.wiring, self.device = wiring or straight(channels), device
        self._source, self._sink = source, sink
        self._block: Block | None = None
        self._wakeups: list[Wakeup] = []
        self.clock: SimulatedClock | DeviceClock | None = device
        self.takes: Takes | None = None
        self.workers = Workers(process)
        self.untrained = False
        self.granted = ""
        self.swaps = Swaps(self)
        self.fallback: Fallback | None = None
        try:
            if options.factory is None:
                # Before an engine is built, which may take a while.
                spec = read_spec(find(options.model))
                options.check_stems(spec.name, spec.stems)
                self.untrained = spec.card.get("weights") == untrained.RANDOM
            job = options.job(rate, channels)
            self.info = self.workers.build(job, progress)
            self.stems = tuple(self.info["stems"])
            options.check_stems(self.info["model"], self.stems)
            self._delivery = self._delivered()
            self.latency = self.latency_of(Made(self.process, job, self.info))
            if options.fallback is not None:
                self._prepare_fallback(progress)
            self._assemble()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Sound begins; what real-time set-up the worker was granted is in `granted`."""
        self.granted = self.workers.start(self._block, self._wakeups, self._delivery.unit)
        announce(self._block.name, self.info["model"])
        self.takes.begin_first()
        self.clock.start()

    def swap(self, model=None, *, engine=None, chunk=None, factory=None) -> Future:
        """Another model (a name or a checkpoint's path), engine or chunk while the run goes on.

        The new worker builds, warms up on what comes in, and is cross-faded with the last one, on
        one time line. Gains, mutes and solos go by the stems' names. May be called from any thread,
        and returns at once; the future is done when the new one is heard, or raises why it won't
        be: then all goes on as it was. Where the new latency is longer, it becomes longer: the
        sound is dry for a moment; where it is shorter, it stays.

        Raises `WrongCall` for what is no model and for routes to stems that it lacks, `Failure`
        while another change is under way, and where other stems are being recorded.
        """
        return self.swaps.request(model, engine, chunk, factory)

    def adopt(self, options: Options, info: dict, slots: list[int], latency: Latency) -> None:
        """What a change of models makes of the run: called in its moment."""
        adopt(self, options, info, slots, latency)

    def join(self, seconds: float | None = None) -> bool:
        """Whether the run is over, after waiting for at most so long."""
        return self.clock.join(seconds)

    def finish(self) -> dict:
        """Ends the run if it still goes on, completes all files; the `summary`.

        Raises what made the run fail.
        """
        clock = self.clock
        clock.stop()
        self.swaps.stop()
        if not clock.join(2):
            self._block.i64[layout.STOP] = 1  # it waits for a worker that is stuck
            clock.join()
        self.workers.stop()
        self.takes.finish(clock.samples)
        if clock.error is not None:
            raise clock.error
        if self._sink is not None:
            self._sink.finish()
        return summary(self)

    def close(self) -> None:
        """Ends everything at once; what is not finished is dropped, but recordings stay."""
        self.swaps.stop()
        if self.device is not None:
            self.device.close()
        elif self.clock is not None and not self.clock.join(0):
            self.clock.stop()
            if not self.clock.join(0.5):
                self._block.i64[layout.STOP] = 1
                self.clock.join()
        self.workers.stop()
        if self.takes is not None:
            self.takes.finish(0, seconds=2)
        for end in (self._source, self._sink):
            if end is not None:
                end.close()
        self._source = self._sink = None
        if self._wakeups:
            withdraw(self._block.name)
            for wakeup in self._wakeups:
                wakeup.close()
            self._block.close()
            self._wakeups = []

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    @property
    def status(self) -> Status:
        return Status(self._block)

    @property
    def block(self) -> Block:
        return self._block

    @property
    def process(self) -> WorkerProcess:
        """The worker that is heard."""
        return self.workers.process

    def advice(self) -> list[str]:
        """What would end the misses that there were, where an option does."""
        causes, latency, advice = self.status.misses(), self.latency, []
        if layout.CAUSES[layout.GROWN] in causes and self.device is not None:
            unit = self._delivery.unit
            queue = -(-max(self.device.most, latency.queue + 1) // unit) * unit
            advice.append(
                f"the device handed over {self.device.most} samples at once, where it was "
                f"{latency.delivery} before the run: --queue {queue} is enough for that"
            )
        return advice

    @property
    def warnings(self) -> list[str]:
        """What the user should know before it begins."""
        ends = (self.device.plan.input, self.device.plan.output) if self.device else (None, None)
        if None in ends:
            return []
        warning = howls(ends[0].name, ends[1].name, self.device.plan.host_api)
        return [warning] if warning is not None else []

    def _fade_up(self) -> float:
        """In seconds: nobody's ears are surprised."""
        if self.options.fade_up is not None:
            return self.options.fade_up
        return 1.0 if self.device is not None and self.device.plan.output is not None else 0.0

    def latency_of(self, made: Made) -> Latency:
        """Of what a worker has built, in this run."""
        info = made.info
        block, unit, most = astuple(self._delivery)
        chunk = Fraction(info["chunk"] * self.rate, info["model_rate"])
        if self.options.queue is None:
            queue = default_queue(self.rate, unit, most, chunk, info["queue_ms"])
        else:
            queue = check_queue(self.options.queue, unit, most)
        model = Fraction(info["model_delay"])
        told = self.device.latency() if self.device is not None else (0, 0)
        device_in, device_out = told or (0, 0)
        return Latency(
            rate=self.rate,
            block=block,
            delivery=most,
            rebuffer=made.process.rebuffer(unit),
            queue=queue,
            resample=info["delay"] - model,
            model=model,
            device_in=device_in,
            device_out=device_out,
            told=told is not None,
            clocks=self.device.intake_latency if self.device is not None else 0,
        )

    def _prepare_fallback(self, progress: Callable[[str], None]) -> None:
        """A worker that has it ready; the latency is the longer one of both from the beginning."""
        wanted, o = lighter(self.options), self.options
        if key(wanted) == key(o):
            raise WrongCall(f"--fallback {o.fallback}: that is the model itself")
        made = self.swaps.prepare(wanted, progress)
        model, stems = made.info["model"], tuple(made.info["stems"])
        check_routes(o, model, stems)
        if o.record is not None and set(stems) != set(self.stems):
            raise WrongCall(
                f"--fallback {o.fallback}: a recording goes on in the same files, and {model} has "
                f"{', '.join(stems)} in place of {', '.join(self.stems)}"
            )
        self.latency = padded(self.latency, self.latency_of(made))
        self.fallback = Fallback(self)
        self.workers.look = self.fallback.look

    def _delivered(self) -> Delivery:
        if self.device is not None:
            return self.device.observe()
        return _simulated(self.options.blocks)

    def facts(self) -> dict:
        """What other processes should know: see `description.py`."""
        told = ("model", "engine", "stems", "primary", "remainder", "model_rate", "chunk")
        return {name: self.info[name] for name in told} | {
            "slots": [self.slots.by_name[stem] for stem in self.stems],
            "rate": self.rate,
            "channels": self.channels,
            "latency": self.latency.as_json(),
            "deadline_ms": self.latency.milliseconds(self.latency.deadline),
            "device": None if self.device is None else self.device.as_json(),
            "routed": bool(self.options.routes),
            "pid": os.getpid(),
        }

    def _assemble(self) -> None:
        o, n = self.options, len(self.stems)
        # What is recorded keeps its stems, and has rings five times as long.
        room = n if o.record else max(n, ROOM)
        self._block = block = Block.create(
            rate=self.rate,
            channels=self.channels,
            stems=n,
            block=self.latency.block,
            latency=self.latency.internal,
            inputs=self.wiring.inputs,
            outputs=self.wiring.outputs,
            on_miss=ON_MISS[o.on_miss],
            fade_up=round(self._fade_up() * self.rate),
            seconds=_RECORDED if o.record or o.recordable else _HELD,
            room=room,
        )
        self._wakeups = [Wakeup(block, ring, create=True) for ring in range(2)]
        self.slots = Slots(block, self.stems, room)
        describe(block, self.facts())
        self.controls = Controls(block)
        self.controls.recall(o.scene)
        block.f64[layout.CEILING] = math.inf if o.ceiling is None else o.ceiling
        block.f64[layout.INPUT_GAIN] = o.input_gain
        block.i64[layout.IDLE_AFTER] = round(o.idle * self.rate)
        self.wiring.apply(block, self.stems)
        block.settle()
        if self.device is not None:
            self.device.connect(
                block,
                self._delivery,
                free=not o.paced,
                limit=o.limit,
                go_on=o.on_device_loss == "go-on",
            )
        else:
            self.clock = SimulatedClock(
                block,
                self._source,
                self._sink,
                blocks=o.blocks or DEFAULT_BLOCK,
                paced=o.paced,
                limit=o.limit,
            )
        self.takes = Takes(block, self.stems, self.info["remainder"], o.record, o.overwrite)
        if o.recordable:
            rehearse(block)


def _simulated(blocks: int | Iterable[int] | None) -> Delivery:
    """What the simulated clock delivers: one block at a time."""
    sizes = [blocks] if isinstance(blocks, int) else list(blocks or [DEFAULT_BLOCK])
    if min(sizes) < 1:
        raise WrongCall("block: at least 1 sample")
    # Where sizes vary, a block may begin at any sample.
    unit = sizes[0] if len(set(sizes)) == 1 else 1
    return Delivery(block=max(sizes), unit=unit, most=max(sizes))


def seconds_since_process_start() -> float | None:
    """How old this process is, where the system tells (Linux; to 10 ms)."""
    try:
        fields = Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()
        began = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return time.clock_gettime(time.CLOCK_BOOTTIME) - began
    except (OSError, ValueError, IndexError, AttributeError):
        return None
