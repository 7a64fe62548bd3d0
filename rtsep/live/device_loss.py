"""What becomes of a run whose device is unplugged, fails, or loses its server, and comes back.

The simulated clock takes over, with silence in the place of what is gone; every two seconds it is
looked, by name, whether all devices are there again; then a process of their own opens them
(`device_process.py` says why), and the sound fades back in. Where only one of two devices with
clocks of their own is gone, the other goes on until then. The time line is one: nothing of the run
notices who calls.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from rtsep.live import child
from rtsep.live.device_process import Request, words
from rtsep.live.gate import Gate
from rtsep.live.layout import CAPTURE, FADE, FADE_UP, FINISH, INPUT_RAMP, RISE_FROM, WAKE, Block
from rtsep.live.ring import Ring
from rtsep.live.standin import StandIn
from rtsep.live.streams import Stream, Streams

LOOK = 2.0  # s between two looks
_PATIENCE = 30.0  # s for an answer


class Remote:
    """The process that looks for the devices, opens them, and calls; from its parent's side."""

    def __init__(self, request: Request):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rtsep.live.device_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._said: queue.Queue = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        self.tell(request.as_json())

    def tell(self, text: str) -> None:
        """Where it has ended that is what it says next."""
        child.tell(self._process, text)

    def answer(self, stop: Callable[[], bool]) -> dict:
        """What it says next; {} where it ends, is too slow, or it is time to `stop`."""
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until and not stop():
            try:
                return self._said.get(timeout=0.05)
            except queue.Empty:
                continue
        return {}

    def news(self) -> dict | None:
        """What it has said since, or {} where it has ended; None: nothing."""
        try:
            return self._said.get_nowait()
        except queue.Empty:
            return None

    def end(self) -> None:
        """It calls no more."""
        child.hang_up(self._process)

    def _listen(self) -> None:
        for line in self._process.stdout:
            self._said.put(json.loads(line))
        self._said.put({})


class Keeper:
    """Watches the streams of a device clock, and replaces them. `over`: the run has ended.

    `clock` is the `DeviceClock`, `size` the frames per call of the simulated clock; `stirred` is
    set when a stream has come to its end. Not `go_on`: a loss ends the run. `losses` so far,
    `seconds` of sound in them; `without`: there is one now.
    """

    def __init__(self, clock, block: Block, gate: Gate, size: int, stirred, go_on: bool):
        self._clock, self._block, self._gate, self._size = clock, block, gate, size
        self._stirred, self._go_on = stirred, go_on
        self.over = threading.Event()
        self.losses, self.seconds, self.without = 0, 0.0, False
        self._leave = threading.Event()
        self._stand_in: StandIn | None = None
        self._remote: Remote | None = None
        self._wake = int(block.i64[WAKE])
        self._thread = threading.Thread(target=self._main, name="devices", daemon=True)

    @property
    def started(self) -> bool:
        return self._thread.ident is not None

    def start(self, streams: Streams) -> None:
        self._streams = streams
        self._thread.start()

    def stop(self) -> None:
        """At once, whatever it is about."""
        self._leave.set()
        self._stirred.set()
        if self.started:
            self._thread.join()
        if self._stand_in is not None:
            self._stand_in.stop()
        if self._remote is not None:
            self._remote.end()

    def _main(self) -> None:
        try:
            while not self._leave.is_set():
                self._stirred.wait(0.1)
                self._stirred.clear()
                if not self._attend():
                    return
        except Exception as error:
            self._clock.error = error
        finally:
            self.over.set()

    def _complete(self) -> bool:
        return bool(self._block.i64[FINISH]) or self._gate.samples >= self._gate.end

    def _ended(self) -> bool:
        """While a device is gone: whether nobody needs it any more."""
        return self._leave.is_set() or bool(self._stand_in and self._stand_in.over.is_set())

    def _attend(self) -> bool:
        """Deals with what is gone, if anything is; False: the run is over."""
        gone: list[Stream] = []
        if self._remote is not None:
            news = self._remote.news()
            if news is None:
                return True
            text, ended = news.get("gone", f"{self._streams.plan} is gone"), True
        else:
            gone = self._streams.gone()
            if not gone:
                return True
            text, ended = words(gone), self._streams.driver in gone
        # In this order: a stream that has completed the run has said so before it ended.
        if ended and self._complete():
            return False
        if not self._go_on:
            self._clock.ended = self._words(text)
            return False
        for stream in gone:
            self._lose(stream)
        return self._without(text)

    def _words(self, gone: str) -> str:
        return (
            f"{gone}, after {self._now():.1f} s: was it unplugged, or its server ended? "
            "`rtsep devices` lists what there is now"
        )

    def _now(self) -> float:
        return self._clock.samples / self._clock.plan.rate

    def _without(self, gone: str) -> bool:
        """Goes on without these until they are back; False: the run was over before."""
        self.losses += 1
        self.without, began = True, self._now()
        self._clock.events.append(
            f"{self._words(gone)}; the run goes on on a simulated clock until it is back"
        )
        if self._remote is not None:
            self._remote.end()
            self._remote = None
            self._stand()
        look, told = time.monotonic() + LOOK, ""
        while not self._leave.wait(0.05):
            if self._stand_in is None and self._streams.driver in self._streams.gone():
                if self._complete():
                    break
                self._lose(self._streams.driver)
            if self._ended():
                break
            if time.monotonic() < look:
                continue
            failure = self._look()
            if failure is None:
                break
            if failure and failure != told:
                self._clock.events.append(f"not back yet: {failure}")
                told = failure
            look = time.monotonic() + LOOK
        self.seconds += self._now() - began
        self.without = False
        return self._remote is not None

    def _lose(self, stream: Stream) -> None:
        """Where it was the clock, the simulated one takes over."""
        stream.door.shut()
        if stream is self._streams.driver:
            if self._streams.intake is not None:
                self._streams.intake.seat()
            self._stand()
        stream.leave()

    def _stand(self) -> None:
        intake = self._streams.intake
        self._gate.take_over(0 if intake is None else intake.address)
        self._block.i64[WAKE] = self._wake
        self._gate.open(self._block.address, self._size)
        self._stand_in = StandIn(self._block, self._gate, self._size)

    def _look(self) -> str | None:
        """None: they are back. Else why not, where more is to be said than that."""
        remote = Remote(self._clock.request(self._block))
        failure = self._open(remote)
        if failure is None:
            self._remote = remote
        else:
            remote.end()
        return failure

    def _open(self, remote: Remote) -> str | None:
        if not remote.answer(self._ended).get("found"):
            return ""
        # All streams of this process make room, the one that still goes on too.
        if self._stand_in is None:
            self._lose(self._streams.driver)
        for stream in self._streams.all:
            stream.leave()
        remote.tell("open")
        answer = remote.answer(self._ended)
        if "open" not in answer:
            return answer.get("error", "")
        self._stand_in.stop()
        if self._stand_in.over.is_set():
            return ""
        self._fade_in()
        self._wake = int(self._block.i64[WAKE])
        remote.tell("enter")
        if not remote.answer(self._ended):
            self._stand()
            return "it went away again"
        self._stand_in = None
        self._clock.events.append(f"{answer['open']} is back, after {self._now():.1f} s")
        return None

    def _fade_in(self) -> None:
        """No callback runs: input and output rise from here on."""
        h, x = self._block.i64, self._block.f64
        h[RISE_FROM] = Ring(self._block, CAPTURE).written
        h[FADE_UP] = max(h[FADE_UP], h[FADE])
        if self._clock.plan.input is not None:
            x[[INPUT_RAMP + 1, INPUT_RAMP + 3]] = 0  # value and target: it is aimed at anew
