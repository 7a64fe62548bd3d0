"""Single keys from the terminal while a run goes on; the terminal is as before at the end."""

from __future__ import annotations

import atexit
import os
import select
import signal
import sys
import threading
from collections.abc import Callable

try:
    import termios
    import tty
except ImportError:  # Windows
    termios = None
    import msvcrt


class Keyboard:
    """As a context manager: calls `pressed(key)` for every key, in a thread of its own.

    `there`: whether standard input is a terminal at all. Ctrl-C and Ctrl-Z act as ever. In the
    background (`&`, or `bg` after Ctrl-Z) the terminal is left alone.
    """

    def __init__(self, pressed: Callable[[str], None]):
        self._pressed = pressed
        self._over = threading.Event()
        self._saved = None
        self._handlers: dict = {}
        self.there = sys.stdin is not None and sys.stdin.isatty() and _in_foreground()
        self._thread = threading.Thread(target=self._read, name="rtsep-keys", daemon=True)

    def __enter__(self) -> Keyboard:
        if self.there:
            if termios is not None:
                self._saved = termios.tcgetattr(0)
                atexit.register(self._restore)
                self._handlers = {
                    signal.SIGTSTP: signal.signal(signal.SIGTSTP, self._stop),
                    signal.SIGCONT: signal.signal(signal.SIGCONT, self._go_on),
                }
                self._take()
            self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        if not self.there:
            return
        self._over.set()
        self._thread.join()
        if termios is not None:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            self._restore()
            atexit.unregister(self._restore)

    def _read(self) -> None:
        while not self._over.is_set():
            for key in self._next(0.1):
                self._pressed(key)

    def _next(self, seconds: float) -> str:
        """What was typed, after waiting for at most so long."""
        if termios is None:
            if not msvcrt.kbhit():
                self._over.wait(seconds)
                return ""
            return msvcrt.getwch()
        if not _in_foreground():
            self._over.wait(seconds)
            return ""
        try:
            ready = select.select([0], [], [], seconds)[0]
            typed = os.read(0, 64) if ready else None
        except OSError:
            typed = b""
        if typed is None:
            return ""
        if not typed:
            self._over.set()  # the terminal is gone
        # An arrow or a function key comes as several bytes, none of which is meant by itself.
        return "" if typed.startswith(b"\x1b") else typed.decode("ascii", "ignore")

    def _take(self) -> None:
        tty.setcbreak(0, termios.TCSANOW)

    def _restore(self) -> None:
        if _in_foreground():
            try:
                termios.tcsetattr(0, termios.TCSANOW, self._saved)
            except termios.error:
                pass  # it is gone

    def _stop(self, number: int, frame) -> None:
        self._restore()
        os.kill(os.getpid(), signal.SIGSTOP)

    def _go_on(self, number: int, frame) -> None:
        if _in_foreground():
            self._take()


def _in_foreground() -> bool:
    """Whether this process may use the terminal: touched from the background, it stops us."""
    if termios is None:
        return True
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False
