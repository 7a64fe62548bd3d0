"""PortAudio's streams of a run while they are open, and whether they still call."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable

from rtsep.errors import Failure
from rtsep.live import realtime
from rtsep.live.delivery import Delivery, observed
from rtsep.live.device_stream import Plan, open_stream
from rtsep.live.devices import abandon, quiet, reason
from rtsep.live.door import LOGGED, Door
from rtsep.live.gate import Gate
from rtsep.live.gate import gate as pass_on
from rtsep.live.intake import Intake, take_in

PRIORITY = 70
SILENT = 3.0  # s without a call: nothing more will come
_SETTLING = 0.1  # s in which a stream that has just begun may call as it likes
_OBSERVED = 0.25  # s after that, and at least so many deliveries:
_DELIVERIES = 8
# Its streams can't be closed once the server is gone: that never returns. (What a new server
# does not mind is PortAudio being shut down as a whole.)
_NOT_CLOSED = "JACK Audio Connection Kit"


class Stream:
    """One stream, from its opening on; its door is shut. `direct`: no Python is in the way.

    `stirred` is called when it has come to its end. Raises `Failure` where it does not start.
    """

    def __init__(self, plan: Plan, function: int, stirred: Callable[[], None]):
        self.plan, self._stirred = plan, stirred
        self.door = Door(function, plan.outputs)
        self.ended = threading.Event()
        self._seen, self._checked, self._silence = 0, 0.0, 0.0
        before = _threads()
        self._stream, self.direct = open_stream(plan, self.door, self._finished)
        try:
            with quiet():
                self._stream.start()
        except Exception as error:
            self.close()
            raise Failure(f"{plan} at {plan.rate} Hz does not start: {reason(error)}") from None
        # What the host says of its own latency, in seconds, as a number or (in, out).
        self.told = self._stream.latency
        realtime.hurry_threads(_threads() - before, PRIORITY)

    def observe(self) -> Delivery:
        """Waits until it is clear how the host delivers. Raises `Failure` where it never calls."""
        time.sleep(_SETTLING)
        first, began = self.door.calls, time.monotonic()
        while True:
            time.sleep(0.02)
            new = min(self.door.calls - first, LOGGED - 1)
            times, frames = (part[len(part) - new :] for part in self.door.log())
            waited = time.monotonic() - began
            if waited >= _OBSERVED and len(times) > 1:
                delivery = observed(times, frames, self.plan.rate)
                if int(frames.sum()) >= _DELIVERIES * delivery.most or waited >= SILENT:
                    return delivery
            elif waited >= SILENT:
                raise Failure(
                    f"{self.plan} was opened at {self.plan.rate} Hz and never asks for sound: "
                    "choose another with --input, --output or --host-api"
                )

    def silent(self) -> bool:
        """Whether it has not called for so long that it never will. To be asked often."""
        calls, now = self.door.calls, time.monotonic()
        # In small steps: this process may have been stopped, and the device with it.
        step = min(now - self._checked, 0.2)
        self._silence = 0 if calls != self._seen else self._silence + step
        self._seen, self._checked = calls, now
        return self._silence >= SILENT

    def leave(self) -> None:
        """Its device is gone: nothing that it may still do has any effect."""
        self.door.shut()
        self.door.keep()
        if self.plan.host_api == _NOT_CLOSED:
            self._stream = None
            abandon()
        else:
            self.close()

    def close(self) -> None:
        """The device is free again."""
        self.door.shut()
        stream, self._stream = self._stream, None
        if stream is not None and not _closed(stream):
            self.door.keep()
            abandon()

    def _finished(self) -> None:
        self.ended.set()
        self._stirred()


class Streams:
    """All streams of a plan, before a gate; `enter` lets them in.

    `intake` is needed where the plan has two. `stirred` is called when one has come to its end.
    Raises `Failure` where one does not open.
    """

    def __init__(
        self,
        plan: Plan,
        gate: Gate,
        intake: Intake | None = None,
        stirred: Callable[[], None] = lambda: None,
    ):
        self.plan, self.intake, self._gate = plan, intake, gate
        self.all: list[Stream] = []
        try:
            for part in plan.streams():
                self.all.append(Stream(part, self._function(part), stirred))
        except BaseException:
            self.close()
            raise
        if intake is not None:
            self.capture.door.open(intake.address)

    @property
    def driver(self) -> Stream:
        """The one whose clock is the run's."""
        return self.all[-1]

    @property
    def capture(self) -> Stream:
        """The one that sound comes from."""
        return self.all[0]

    @property
    def direct(self) -> bool:
        return all(stream.direct for stream in self.all)

    def gone(self) -> list[Stream]:
        """Those that have ended, or have not called for long. To be asked often."""
        return [stream for stream in self.all if stream.silent() or stream.ended.is_set()]

    def enter(self) -> None:
        """From now on the gate is called."""
        self._gate.take_over(0 if self.intake is None else self.intake.address)
        self.driver.door.open(self._gate.address)

    def latency(self) -> tuple[float, float] | None:
        """What the hosts say of their latency, (in, out) in seconds; None: nothing sensible."""
        if len(self.all) == 2:
            told = tuple(_one(stream.told) for stream in self.all)
        elif isinstance(self.driver.told, tuple):
            told = self.driver.told
        else:
            ends = (self.plan.input, self.plan.output)
            told = tuple(self.driver.told if end is not None else 0.0 for end in ends)
        return told if all(math.isfinite(s) for s in told) else None

    def close(self) -> None:
        for stream in self.all:
            stream.close()

    def _function(self, part: Plan) -> int:
        return take_in.address if self.intake and part.output is None else pass_on.address


def _one(told) -> float:
    return told[0] if isinstance(told, tuple) else told


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
