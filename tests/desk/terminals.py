"""A terminal for tests: `rtsep run --desk` in a pty of its own, as a shell would start it."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

RTSEP = [sys.executable, "-m", "rtsep", "run", "--factory", "quarter_model:build"]
_MODELS = Path(__file__).parent.parent / "live"


# With it before a call the terminal does not hang up where that ends.
SHELL = [
    sys.executable,
    "-c",
    "import subprocess, sys; subprocess.call(sys.argv[1:]); sys.stdin.read()",
]


class Terminal:
    """80 by 24. `shown` is all that was written to it so far."""

    def __init__(self, *arguments, call=None):
        self._end, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(theirs)
        self._theirs = theirs
        self._said, self._read_to, self._text = bytearray(), 0, ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.process = subprocess.Popen(
            call or [*RTSEP, *map(str, arguments)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=os.environ | {"PYTHONPATH": str(_MODELS), "TERM": "xterm-256color"},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def shown(self) -> str:
        return bytes(self._said).decode(errors="replace")

    @property
    def plain(self) -> str:
        """... without what is no text."""
        said = bytes(self._said[self._read_to :])
        # What has come in part is read the next time.
        said = re.sub(rb"\x1b(\[[0-9;?<>$]*)?$", b"", said)
        self._read_to += len(said)
        self._text += re.sub(r"\x1b\[[0-9;?<>$]*[a-zA-Z]", "", self._decoder.decode(said))
        return self._text

    @property
    def modes(self) -> list:
        """How it reads keys now."""
        return termios.tcgetattr(self._theirs)

    def type(self, keys: str) -> None:
        os.write(self._end, keys.encode())

    @property
    def hears_control_c(self) -> bool:
        """Whether Ctrl-C is a signal, and no key of the desk's."""
        return bool(self.modes[3] & termios.ISIG)

    def desk(self) -> int:
        """The desk's process id, once it is on the screen."""
        self.until(lambda: "end run" in self.plain)
        return self.find("rtsep.desk")

    def find(self, name: str) -> int:
        """The process below the first one that was called with this."""
        pids = [self.process.pid]
        for pid in pids:
            pids += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        for pid in pids[1:]:
            if name.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                return pid
        raise AssertionError(f"no {name}: {self.plain}")

    def until(self, condition, seconds=300, every=0.1):
        limit = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < limit, f"waited in vain: {self.plain[-2000:]}"
            time.sleep(every)

    def ends(self) -> int:
        """The run's exit code, once it is over."""
        self.until(lambda: self.process.poll() is not None)
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self._theirs)
        self._reader.join(10)
        os.close(self._end)

    def _read(self):
        try:
            while data := os.read(self._end, 1 << 16):
                self._said += data
        except OSError:
            pass  # nobody is at the other end any more


def is_over(pid: int) -> bool:
    """Whether a process ended, be it waited for or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True
