"""A device in the place of the simulated clock: it calls when its time has come."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np

from rtsep.live import drift
from rtsep.live import intake as intakes
from rtsep.live.delivery import Delivery
from rtsep.live.device_loss import Keeper
from rtsep.live.device_process import Request
from rtsep.live.device_stream import Plan
from rtsep.live.gate import Gate
from rtsep.live.intake import Intake
from rtsep.live.layout import FINISH, LATENCY, PATIENCE, Block
from rtsep.live.streams import Streams

_PATIENCE = 2000  # ms that a callback on the free clock waits for its stems
_RING = 10.0  # s of ring for a file in the place of an input or output
_TAKEN_EVERY = 0.01  # s: what a sink that plays on adds to the latency
_LONGEST = 2.0  # s: a host that reports a longer latency does not know it


class DeviceClock:
    """Opens the devices of a plan at once, playing silence, so that it can be learnt how they call.

    `source` and `sink` (see `feeds.py`) stand for the end that is no device. Then: `observe`,
    `connect` to the run's block, `start`. `direct`: no Python is in the callback's way. `stalls`:
    calls for which the source was not ready. `ended`: why the device stopped by itself, if that
    ended the run. `events`: what else became of the devices, a line each.
    """

    def __init__(self, plan: Plan, source=None, sink=None):
        self.plan, self.stalls = plan, 0
        self.ended: str | None = None
        self.events: list[str] = []
        self.error: Exception | None = None
        self.intake_latency = 0  # samples that the way between two clocks costs
        self._longest = 0.0  # s of sound that either side's host delivers at once
        self._source = None if plan.input is not None else source
        self._sink = None if plan.output is not None else sink
        self._stopped = threading.Event()  # nobody needs feeding any more
        self._files: list[threading.Thread] = []
        self._block: Block | None = None
        self._delivery: Delivery | None = None
        self._keeper: Keeper | None = None
        self._gate = Gate(
            plan.rate,
            plan.inputs,
            plan.outputs,
            feed=_RING if self._source is not None else 0,
            heard=_RING if self._sink is not None else 0,
        )
        try:
            # A host's own block size costs no buffering; should that be the wanted one, it stays.
            self._open(replace(plan, block=0))
        except BaseException:
            self._gate.close()
            raise

    @property
    def samples(self) -> int:
        """Frames that were passed to the run so far, none beyond its end."""
        return self._gate.samples

    @property
    def most(self) -> int:
        """Frames that the host handed over at once, at the most, since the run began."""
        return self._gate.most

    @property
    def direct(self) -> bool:
        return self._streams.direct

    @property
    def away(self) -> bool:
        """Whether a device is gone, and the run goes on without it."""
        return self._keeper is not None and self._keeper.without

    def observe(self) -> Delivery:
        """Waits until it is clear how the hosts deliver. Raises `Failure` where one never calls."""
        delivery = self._streams.driver.observe()
        if self.plan.block not in (0, delivery.unit):
            self._streams.close()
            self._open(self.plan)
            delivery = self._streams.driver.observe()
        if (intake := self._streams.intake) is not None:
            capture = self._streams.capture.observe()
            rates = self.plan.capture_rate, self.plan.rate
            reserve = intakes.reserve(capture.most, *rates)
            self.intake_latency = intakes.latency(delivery.most, reserve, *rates)
            self._longest = max(capture.most / rates[0], delivery.most / rates[1])
            heard = self._opened + drift.followed(self._longest)
            time.sleep(max(0.0, heard - time.monotonic()))
            intake.settle(self.intake_latency, self._longest)
        self._delivery = delivery
        return delivery

    def latency(self) -> tuple[int, int] | None:
        """What the host says of its own latency, (in, out) in samples; None: nothing sensible."""
        both = self._streams.latency()
        if both is None or not all(0 <= s <= _LONGEST for s in both):
            return None
        return tuple(round(s * self.plan.rate) for s in both)

    def as_json(self) -> dict:
        """For the summary of a run."""
        plan, intake = self.plan, self._streams.intake
        return {
            "input": plan.input and plan.input.name,
            "output": plan.output and plan.output.name,
            "host_api": plan.host_api,
            "compiled_callback": self.direct,
            "delivery": self._delivery.most,
            "largest_delivery": self.most,
            "latency_told": self.latency() is not None,
            "two_clocks": intake
            and {
                "input_rate": plan.capture_rate,
                "difference_ppm": round(1e6 * intake.difference, 1),
                "starved": intake.starved,
                "jumps": intake.jumps,
            },
            "losses": 0 if self._keeper is None else self._keeper.losses,
            "away_s": 0.0 if self._keeper is None else round(self._keeper.seconds, 3),
        }

    def connect(
        self,
        block: Block,
        delivery: Delivery,
        *,
        free: bool = False,
        limit: int | None = None,
        go_on: bool = False,
    ) -> None:
        """The block that `start` will open the gate to. `free`: callbacks wait for their stems.

        `limit`: the run ends after so many frames of input, and the internal latency. `go_on`: it
        survives the loss of its devices.
        """
        self._block = block
        if free:
            block.i64[PATIENCE] = _PATIENCE
        if limit is not None:
            self._gate.end = limit + int(block.i64[LATENCY])
        for needed, work in ((self._source, self._feed), (self._sink, self._write)):
            if needed is not None:
                self._files.append(threading.Thread(target=work, daemon=True))
        self._keeper = Keeper(self, block, self._gate, delivery.block, self._stirred, go_on)

    def start(self) -> None:
        for thread in self._files:
            thread.start()
        if self._source is not None:
            # Something to begin with, or the first block would find nothing.
            time.sleep(0.05)
        self.let_in()
        self._keeper.start(self._streams)

    def let_in(self) -> None:
        """From now on the run gets what the device calls with."""
        self._gate.open(self._block.address, self._delivery.most)

    def extend(self, samples: int) -> None:
        """The internal latency has become so much longer: so does the run."""
        self._gate.end += samples

    def stop(self) -> None:
        """Ends the run at the next call."""
        self._block.i64[FINISH] = 1

    def join(self, seconds: float | None = None) -> bool:
        """Whether it doesn't run (any more), after waiting for that for at most so long."""
        if self._keeper is None:
            return self._stirred.wait(seconds)  # there is no run
        if self._keeper.started:
            if not self._keeper.over.wait(seconds):
                return False
            self._end()
        return True

    def close(self) -> None:
        """The devices are free again, and nothing looks at the block any more."""
        self._stopped.set()
        if self._keeper is not None:
            self._keeper.stop()
        self._gate.shut()
        self._streams.close()
        for thread in self._files:
            if thread.ident is not None:
                thread.join()
        self._gate.close()

    def request(self, block: Block) -> Request:
        """For a process that opens the same devices, and calls this clock's gate."""
        intake = self._streams.intake
        return Request(
            block=block.name,
            gate=self._gate.name,
            plan=self._streams.plan,
            delivery=self._delivery.most,
            intake_latency=self.intake_latency,
            longest=self._longest,
            difference=0.0 if intake is None else intake.known,
        )

    def _open(self, plan: Plan) -> None:
        self._stirred = threading.Event()
        intake = None
        if plan.capture_rate is not None:
            intake = Intake(plan.inputs, plan.capture_rate, plan.rate)
        self._streams = Streams(plan, self._gate, intake, self._stirred.set)
        self._streams.enter()
        self._opened = time.monotonic()

    def _end(self) -> None:
        """After the last call: what the files still lack."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        self._gate.shut()
        self.stalls = self._gate.starved
        for thread in self._files:
            if thread.ident is not None:
                thread.join()

    def _feed(self) -> None:
        """Keeps the ring full; when the source ends, so does the run."""
        fed, part = 0, np.zeros((0, self.plan.inputs), np.float32)
        piece = self.plan.rate // 10
        try:
            while not self._stopped.is_set():
                if not len(part):
                    part = self._source.read(piece)
                    if not len(part):
                        break
                taken = self._gate.put(part)
                part, fed = part[taken:], fed + taken
                if len(part):
                    time.sleep(0.02)
        except Exception as error:
            self.error = error
        self._gate.end = min(self._gate.end, fed + int(self._block.i64[LATENCY]))

    def _write(self) -> None:
        """Empties the ring into the sink, until the run is over."""
        try:
            while not self._stopped.wait(_TAKEN_EVERY):
                self._sink.write(self._gate.take())
            self._sink.write(self._gate.take())
        except Exception as error:
            self.error = error
            self.stop()
