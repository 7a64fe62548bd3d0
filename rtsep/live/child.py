"""Processes of our own beside a run: how parent and child speak, and how a child is ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable

_PATIENCE = 2.0  # s


def voice() -> Callable[..., None]:
    """In a child: what says a message, one JSON object a line, on its standard output.

    What libraries print goes to standard error from now on: it must not disturb the conversation.
    """
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def say(**message) -> None:
        out.write(json.dumps(message) + "\n")

    return say


def on_hang_up(call: Callable[[], None]) -> None:
    """In a child that is told nothing more: `call`, in a thread, when its parent hangs up."""

    def watch() -> None:
        os.read(sys.stdin.fileno(), 1)
        call()

    threading.Thread(target=watch, daemon=True).start()


def tell(process: subprocess.Popen, text: str) -> None:
    """In its parent: a line to its standard input. One that has ended hears nothing."""
    try:
        process.stdin.write(f"{text}\n")
        process.stdin.flush()
    except OSError:
        pass


def hang_up(process: subprocess.Popen) -> None:
    """In its parent: closes its standard input, on which it ends, if need be the hard way."""
    try:
        process.stdin.close()
    except OSError:
        pass
    end(process)


def end(process: subprocess.Popen, patience: float = _PATIENCE) -> None:
    """Waits for one that was asked to end; after `patience` seconds it is killed."""
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
