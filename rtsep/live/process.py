"""The worker's process, seen from the session: started, talked to, watched, ended."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable

from rtsep.errors import Failure, WrongCall
from rtsep.live import child
from rtsep.live.layout import Block

# One thread: a pool would only make the step's time less certain.
_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class WorkerProcess:
    """Starts at once, before anybody knows for what: it loads its libraries meanwhile.

    Messages are described in `worker.py`.
    """

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rtsep.live.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | dict.fromkeys(_ONE_THREAD, "1"),
            # Ctrl-C in the terminal is for the session alone.
            start_new_session=True,
        )
        self._messages: queue.Queue[dict] = queue.Queue()
        self._running = False
        self.last_words: str | None = None  # what it said before it died
        self.on_death: Callable[[], None] = lambda: None  # called in a thread of its own
        self._thread = threading.Thread(target=self._listen, name="worker", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def dead(self) -> bool:
        return self._process.poll() is not None

    def build(self, job: dict, progress: Callable[[str], None]) -> dict:
        """Has the engine built for a job (see `worker.build`), and waits for it.

        What it will run (see `worker.describe`). Raises what went wrong.
        """
        self._say(build=job)
        while "ready" not in (message := self._next()):
            progress(message["progress"])
        return message["ready"]

    def rebuffer(self, block: int) -> int:
        """What rebuffering costs with blocks of this size, in samples."""
        self._say(rebuffer=block)
        return self._next()["rebuffer"]

    def run(
        self,
        block: Block,
        ring: int = 0,
        epoch: int = 1,
        slots: list[int] | None = None,
        begin: dict | None = None,
    ) -> str:
        """Sets it to work on a stem ring (0 or 1) and these of its slots, as worker number `epoch`;
        what real-time set-up it was granted. `begin`: it joins a run that is under way (see
        `Worker.join`)."""
        self._say(run=block.name, ring=ring, epoch=epoch, slots=slots, begin=begin)
        granted = self._next()["running"]
        self._running = True
        return granted

    def kill(self) -> None:
        """Ends it at once."""
        self._process.kill()

    def stop(self) -> None:
        """Ends it, if need be the hard way. May be called again."""
        if not self._running:
            self._process.kill()  # nothing of it is to be kept, and it may be busy for long
        child.hang_up(self._process)
        self._thread.join()

    def _say(self, **message) -> None:
        """Where it is dead the next message says so."""
        child.tell(self._process, json.dumps(message))

    def _next(self) -> dict:
        message = self._messages.get()
        if "error" in message:
            raise (WrongCall if message["code"] == WrongCall.exit_code else Failure)(
                message["error"]
            )
        return message

    def _listen(self) -> None:
        """Passes messages on until the worker's output closes, which is when it has died."""
        for line in self._process.stdout:
            message = json.loads(line)
            self.last_words = message.get("error", self.last_words)
            self._messages.put(message)
        code = self._process.wait()
        words = self.last_words or f"the worker ended unexpectedly ({_reason(code)})"
        self.last_words = words
        self._messages.put({"error": words, "code": 1})
        self.on_death()


def _reason(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
