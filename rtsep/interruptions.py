"""Ctrl-C and SIGTERM, noted where work must not be cut in two."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def interruptions() -> Iterator[Callable[[], int | None]]:
    """Gives what tells which signal has come since, by its number; None for none.

    Whoever works within asks it where it may stop. A second signal is `KeyboardInterrupt`, at
    once. Outside the main thread, where no signal arrives, it is always None.
    """
    caught: list[int] = []

    def note(number: int, frame) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    # What is ignored was meant to be: shells do that for what runs in the background.
    heard = [n for n in _SIGNALS if signal.getsignal(n) != signal.SIG_IGN]
    before = [(number, signal.signal(number, note)) for number in heard]
    try:
        yield lambda: caught[0] if caught else None
    finally:
        for number, handler in before:
            signal.signal(number, handler)
