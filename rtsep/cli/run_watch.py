"""`rtsep run` while it runs: its status line, what happens meanwhile, and how it is ended."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

from rtsep.cli.keyboard import Keyboard
from rtsep.cli.run_text import line
from rtsep.live.keys import HELP, Keys

_WORDS = {"SIGINT": "Ctrl-C", "SIGTERM": "SIGTERM", "SIGHUP": "its terminal's end"}
_WORDS["SIGBREAK"] = _WORDS["SIGHUP"]  # as Windows has it


class Ending:
    """As a context manager: Ctrl-C, SIGTERM and a closed terminal end the run, cleanly.

    `asked` is how, once that has happened. Before `gently`, and for whoever asks again, it is
    `KeyboardInterrupt`, raised at once.
    """

    def __init__(self):
        self.asked: str | None = None
        self._gentle = False
        self._before: dict = {}
        self._terminals: list = []

    def __enter__(self) -> Ending:
        # Of a terminal that is gone nobody can say any more that it was one.
        self._terminals = [s for s in (sys.stdout, sys.stderr) if s.isatty()]
        for name in _WORDS:
            number = getattr(signal, name, None)
            # What is ignored was meant to be: `nohup` does that.
            if number is not None and signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def gently(self) -> None:
        """From now on the one who watches ends the run when `asked` to."""
        self._gentle = True

    def unread(self) -> None:
        """Nobody reads what is printed any more: the run ends."""
        _silence(sys.stdout, sys.stderr)
        self.asked = self.asked or _WORDS["SIGHUP"]

    def _ask(self, number: int, frame) -> None:
        name = signal.Signals(number).name
        again = self.asked is not None
        self.asked = self.asked or _WORDS[name]
        if name in ("SIGHUP", "SIGBREAK"):
            _silence(*self._terminals)
        if again or not self._gentle:
            raise KeyboardInterrupt


def _silence(*streams) -> None:
    """What is printed there goes nowhere, in place of failing."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def watch(session, ending: Ending, show: bool, more: Callable[[], list[str]] = list) -> list[str]:
    """Until the run is over or is asked to end: what happened, `more` of which others tell. `show`:
    it is told at once, and on a terminal there is the status line, and keys act."""
    terminal = show and sys.stdout.isatty()
    if not terminal:
        return _follow(session, ending, show, more, None)
    keys = _Pressed(session.controls, ending)
    with Keyboard(keys.press) as keyboard:
        if keyboard.there:
            print(HELP, flush=True)
        return _follow(session, ending, show, more, keys)


class _Pressed:
    """What the last key did, in words."""

    def __init__(self, controls, ending: Ending):
        self._keys, self._ending, self.said = Keys(controls), ending, ""

    def press(self, key: str) -> None:
        if key == "q":
            self._ending.asked = self._ending.asked or "q"
        else:
            self.said = self._keys.press(key) or self.said


def _follow(session, ending: Ending, show: bool, more, keys: _Pressed | None) -> list[str]:
    from rtsep.live.notices import Notices

    terminal = keys is not None
    clear = "\r\x1b[K" if terminal else ""
    notices, told = Notices(session), []
    ending.gently()
    over = False
    while not over and ending.asked is None:
        over = session.join(0.2)
        fresh = notices.new() + more()
        told += fresh
        try:
            if show:
                for text in fresh:
                    print(f"{clear}{text}", flush=True)
            if show and (over or ending.asked):
                print(f"{clear}{line(session)}", flush=True)
            elif terminal:
                width = os.get_terminal_size().columns - 1
                said = f"{keys.said}  " if keys.said else ""
                print(f"{clear}{(said + line(session))[:width]}", end="", flush=True)
        except OSError:
            ending.unread()
    return told
