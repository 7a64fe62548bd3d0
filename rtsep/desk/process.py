"""The desk's process, seen from the run: started, answered, watched, ended; the terminal restored.

The run never waits for it: what is said to it goes to a socket that is never blocked on, what it
asks for is done in a thread. A desk that died, was killed or hangs (it has to say that it is alive)
gives the terminal back, and the run goes on as one without a desk.
"""

from __future__ import annotations

import importlib.util
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

from rtsep.desk.link import Hello, Lines, line
from rtsep.errors import Failure, WrongCall
from rtsep.live import child
from rtsep.live.ends import Ends

if TYPE_CHECKING:
    from rtsep.live.session import Session

_HANGS = 20.0  # s without a word: while a desk hangs, nobody can press Ctrl-C
_BEGINS = 60.0  # s until the first word
_UNREAD = 1 << 16  # bytes: more is not kept for a desk that reads nothing
# The end of whatever was begun, then: main screen, cursor, no mouse, focus, paste, key or resize
# reports, colours as they were.
_PLAIN = (
    "\x1b\\\x1b[?2026l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?1016l"
    "\x1b[?1004l\x1b[?2004l\x1b[?2048l\x1b[<u\x1b[?1049l\x1b[?25h\x1b[?7h\x1b[0m\r"
)


def check() -> None:
    """Raises `WrongCall` where there is no terminal for a desk, `Failure` without its library."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise WrongCall("--desk: standard input and output have to be a terminal")
    if importlib.util.find_spec("textual") is None:
        raise Failure("--desk needs textual: pip install 'rtsep[live]'")


def hello(session: Session, ends: Ends, clock: str) -> Hello:
    """What a desk is told at first."""
    device = session.device
    playing, hearing = (device.plan.input, device.plan.output) if device else (None, None)
    return Hello(
        source=playing.name if playing else str(ends.input or "demo"),
        sink=hearing.name if hearing else str(ends.output or "none"),
        clock=clock,
        granted=session.granted,
        untrained=session.untrained,
    )


class DeskProcess:
    """Making it shows the desk, which has the terminal until `there` says that it is gone, or
    until `close`: nobody else prints meanwhile. Also a context manager."""

    def __init__(self, session: Session, hello: Hello, patience: float = _HANGS):
        self._session, self._patience = session, patience
        self._modes = _modes()
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        try:
            self._process = _start(theirs, session.block.name)
        finally:
            theirs.close()
        self._out, self._lock = bytearray(), threading.RLock()
        self._left, self._looked = _BEGINS, time.monotonic()  # until it counts as hung
        self._asked, self._said = False, None
        self._over = False
        self._say(hello=hello)
        self._thread = threading.Thread(target=self._listen, name="desk", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def asks_for_the_end(self) -> bool:
        """Whether the run should end."""
        return self._asked

    @property
    def last_words(self) -> str:
        """Why it is gone while the run goes on."""
        return f"{self._said or 'the desk is closed'}: the run goes on, Ctrl-C ends it"

    def tell(self, notice: str) -> None:
        """Something happened."""
        self._say(notice=notice)

    def there(self) -> bool:
        """Whether it has the terminal. To be called now and then: tells it of the recording too."""
        if self._over:
            return False
        now = time.monotonic()
        # In small steps: this process may have been stopped, and the desk with it.
        self._left -= min(now - self._looked, 1.0)
        self._looked = now
        if self._process.poll() is None and self._left <= 0:
            self._said = f"the desk hung for {self._patience:.0f} s and was ended"
            self._process.kill()
            self._process.wait()
        if self._process.poll() is None:
            self._tell_taking()
            return True
        if self._process.returncode and self._said is None:
            self._said = f"the desk ended unexpectedly ({_reason(self._process.returncode)})"
        self._leave()
        return False

    def close(self) -> None:
        """Ends it, if need be the hard way."""
        if self._over:
            return
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        child.end(self._process, patience=3)
        self._leave()

    def __enter__(self) -> DeskProcess:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _leave(self) -> None:
        """It is gone: the terminal is as it was."""
        self._over = True
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._thread.join(5)
        self._socket.close()
        _restore(self._modes, plain=self._process.returncode != 0)

    def _listen(self) -> None:
        lines = Lines()
        while not self._over:
            try:
                if not select.select([self._socket], [], [], 0.5)[0]:
                    continue
                data = self._socket.recv(1 << 14)
            except (OSError, ValueError):
                return
            if not data:
                return
            self._left = self._patience
            for message in lines.feed(data):
                self._answer(message)

    def _answer(self, message: dict) -> None:
        if "end" in message:
            self._asked = True
        elif "record" in message:
            try:
                answer = {"done": self._record(bool(message["record"]))}
            except Failure as failure:
                answer = {"refused": str(failure)}
            # First: whoever reads the answer may press the key again at once, and means what is so.
            self._tell_taking()
            self._say(**answer)
        elif "model" in message:
            try:
                self._session.swap(str(message["model"]))
                self._say(done=f"{message['model']} is made; what is heard now goes on until then")
            except Failure as failure:
                self._say(refused=str(failure))

    def _record(self, on: bool) -> str:
        takes = self._session.takes
        if on:
            return f"recording to {takes.begin()}"
        folder = takes.end()
        return "nothing was being recorded" if folder is None else f"recorded to {folder}"

    def _tell_taking(self) -> None:
        with self._lock:  # read and said as one: two threads do, and the later word holds
            takes = self._session.takes
            folder = takes.folder
            self._say(taking=None if folder is None else str(folder), seconds=takes.seconds)

    def _say(self, **message) -> None:
        with self._lock:
            if len(self._out) < _UNREAD:
                self._out += line(**message)
            try:
                del self._out[: self._socket.send(self._out)]
            except OSError:
                pass  # it reads nothing, or is gone


def _start(theirs: socket.socket, block: str) -> subprocess.Popen:
    """In this process's group: another one would not be let at the terminal."""
    handle = theirs.fileno()
    call = [sys.executable, "-m", "rtsep.desk", str(handle), block]
    # What it draws goes to the terminal, wherever our standard error goes.
    if sys.platform == "win32":
        os.set_handle_inheritable(handle, True)
        only = subprocess.STARTUPINFO(lpAttributeList={"handle_list": [handle]})
        return subprocess.Popen(call, startupinfo=only)
    return subprocess.Popen(call, stderr=subprocess.STDOUT, pass_fds=[handle])


def _modes():
    """How the terminal reads keys (None where that is not kept with it). What was typed before is
    nobody's wish for the desk."""
    try:
        import termios
    except ImportError:
        return None
    keys = sys.stdin.fileno()
    termios.tcflush(keys, termios.TCIFLUSH)
    return termios.tcgetattr(keys)


def _restore(modes, plain: bool) -> None:
    """`plain`: nobody has told the terminal that the desk is over."""
    try:
        if plain:
            os.write(sys.stdout.fileno(), _PLAIN.encode())
    except OSError:
        return  # the terminal is gone
    if modes is not None:
        import termios

        try:
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSAFLUSH, modes)
        except termios.error:
            pass


def _reason(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
