"""A device in the place of the simulated clock: it calls when its time has come."""

from __future__ import annotations

import math
import os
import threading
import time
from dataclasses import replace

import numpy as np

from rtsep.errors import Failure
from rtsep.live import realtime
from rtsep.live.delivery import Delivery, observed
from rtsep.live.device_stream import Plan, open_stream
from rtsep.live.devices import abandon, quiet, reason
from rtsep.live.gate import LOGGED, Gate
from rtsep.live.layout import FINISH, LATENCY, PATIENCE, Block

PRIORITY = 70
_SETTLING = 0.1  # s in which a stream that has just begun may call as it likes
_OBSERVED = 0.25  # s after that, and at least so many deliveries:
_DELIVERIES = 8
_SILENT = 3.0  # s without a call: nothing more will come
_PATIENCE = 2000  # ms that a callback on the free clock waits for its stems
_RING = 10.0  # s of ring for a file in the place of an input or output
_TAKEN_EVERY = 0.01  # s: what a sink that plays on adds to the latency
_LONGEST = 2.0  # s: a host that reports a longer latency does not know it


class DeviceClock:
    """Opens the devices of a plan at once, playing silence, so that it can be learnt how they call.

    `source` and `sink` (see `feeds.py`) stand for the end that is no device. Then: `observe`,
    `connect` to the run's block, `start`. `direct`: no Python is in the callback's way. `stalls`:
    calls for which the source was not ready. `ended`: why the device stopped by itself, if it did.
    """

    def __init__(self, plan: Plan, source=None, sink=None):
        self.plan, self.stalls = plan, 0
        self.ended: str | None = None
        self.error: Exception | None = None
        self._source = None if plan.input is not None else source
        self._sink = None if plan.output is not None else sink
        self._stream = None
        self._over = threading.Event()
        self._stopped = threading.Event()  # nobody needs feeding any more
        self._files: list[threading.Thread] = []
        self._block: Block | None = None
        self._delivery: Delivery | None = None
        self._seen, self._checked, self._silence = 0, 0.0, 0.0
        self._gate = Gate(
            plan.rate,
            plan.inputs,
            plan.outputs,
            feed=_RING if self._source is not None else 0,
            heard=_RING if self._sink is not None else 0,
        )
        # A host's own block size costs no buffering; should that be the wanted one, it stays.
        self._open(replace(plan, block=0))

    @property
    def samples(self) -> int:
        """Frames that were passed to the run so far, none beyond its end."""
        return self._gate.samples

    @property
    def most(self) -> int:
        """Frames that the host handed over at once, at the most, since the run began."""
        return self._gate.most

    def observe(self) -> Delivery:
        """Waits until it is clear how the host delivers. Raises `Failure` where it never calls."""
        delivery = self._observed()
        if self.plan.block not in (0, delivery.unit):
            self._close_stream()
            self._open(self.plan)
            delivery = self._observed()
        self._delivery = delivery
        return delivery

    def latency(self) -> tuple[int, int] | None:
        """What the host says of its own latency, (in, out) in samples; None: nothing sensible."""
        told = self._told
        ends = (self.plan.input, self.plan.output)
        if isinstance(told, tuple):
            both = told
        else:
            both = tuple(told if end is not None else 0.0 for end in ends)
        if not all(math.isfinite(s) and 0 <= s <= _LONGEST for s in both):
            return None
        return tuple(round(s * self.plan.rate) for s in both)

    def as_json(self) -> dict:
        """For the summary of a run."""
        plan = self.plan
        return {
            "input": plan.input and plan.input.name,
            "output": plan.output and plan.output.name,
            "host_api": plan.host_api,
            "compiled_callback": self.direct,
            "delivery": self._delivery.most,
            "largest_delivery": self.most,
            "latency_told": self.latency() is not None,
        }

    def connect(
        self, block: Block, delivery: Delivery, *, free: bool = False, limit: int | None = None
    ) -> None:
        """The block that `start` will open the gate to. `free`: callbacks wait for their stems.

        `limit`: the run ends after so many frames of input, and the internal latency.
        """
        self._block, self._delivery = block, delivery
        if free:
            block.i64[PATIENCE] = _PATIENCE
        if limit is not None:
            self._gate.end = limit + int(block.i64[LATENCY])
        for needed, work in ((self._source, self._feed), (self._sink, self._write)):
            if needed is not None:
                self._files.append(threading.Thread(target=work, daemon=True))

    def start(self) -> None:
        for thread in self._files:
            thread.start()
        if self._source is not None:
            # Something to begin with, or the first block would find nothing.
            time.sleep(0.05)
        self.let_in()

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
        until = math.inf if seconds is None else time.monotonic() + seconds
        while not self._over.wait(max(0, min(0.1, until - time.monotonic()))):
            if self._vanished():
                break
            if time.monotonic() >= until:
                return False
        self._end()
        return True

    def close(self) -> None:
        """The devices are free again, and nothing looks at the block any more."""
        self._stopped.set()
        self._gate.shut()
        self._close_stream()
        self._over.set()
        for thread in self._files:
            if thread.ident is not None:
                thread.join()

    def _open(self, plan: Plan) -> None:
        self._over.clear()
        before = _threads()
        self._stream, self.direct = open_stream(plan, self._gate, self._over.set)
        try:
            with quiet():
                self._stream.start()
        except Exception as error:
            self.close()
            raise Failure(f"{plan} at {plan.rate} Hz does not start: {reason(error)}") from None
        self._told = self._stream.latency
        realtime.hurry_threads(_threads() - before, PRIORITY)

    def _close_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None and not _closed(stream):
            abandon()

    def _observed(self) -> Delivery:
        time.sleep(_SETTLING)
        first, began = self._gate.calls, time.monotonic()
        while True:
            time.sleep(0.02)
            new = min(self._gate.calls - first, LOGGED - 1)
            times, frames = (part[len(part) - new :] for part in self._gate.log())
            waited = time.monotonic() - began
            if waited >= _OBSERVED and len(times) > 1:
                delivery = observed(times, frames, self.plan.rate)
                if int(frames.sum()) >= _DELIVERIES * delivery.most or waited >= _SILENT:
                    return delivery
            elif waited >= _SILENT:
                raise Failure(
                    f"{self.plan} was opened at {self.plan.rate} Hz and never asks for sound: "
                    "choose another with --input, --output or --host-api"
                )

    def _end(self) -> None:
        """After the last call: what the files still lack."""
        if self._stopped.is_set():
            return
        if self.ended is None and self._stream is not None and not self._expected():
            self.ended = self._words("ended the stream")
        self._stopped.set()
        self._gate.shut()
        self.stalls = self._gate.starved
        for thread in self._files:
            if thread.ident is not None:
                thread.join()

    def _expected(self) -> bool:
        return bool(self._block is None or self._block.i64[FINISH]) or (
            self._gate.samples >= self._gate.end
        )

    def _vanished(self) -> bool:
        """Whether the device has not called for so long that it never will."""
        calls, now = self._gate.calls, time.monotonic()
        # In small steps: this process may have been stopped, and the device with it.
        step = min(now - self._checked, 0.2)
        self._silence = 0 if calls != self._seen else self._silence + step
        self._seen, self._checked = calls, now
        if self._silence < _SILENT:
            return False
        abandon()
        self.ended = self._words(f"stopped {_SILENT:g} s ago")
        return True

    def _words(self, what: str) -> str:
        return (
            f"{self.plan} {what}, after {self.samples / self.plan.rate:.1f} s: was it unplugged, "
            "or its server ended? `rtsep devices` lists what there is now"
        )

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


def _closed(stream) -> bool:
    """A host whose server is gone may never answer: it is given a second."""

    def close() -> None:
        try:
            stream.close()
        except Exception:
            pass  # what is gone needs no closing

    closing = threading.Thread(target=close, daemon=True)
    with quiet():
        closing.start()
        closing.join(1)
    return not closing.is_alive()


def _threads() -> set[int]:
    """Of this process, where the system lists them."""
    try:
        return {int(entry) for entry in os.listdir("/proc/self/task")}
    except OSError:
        return set()
