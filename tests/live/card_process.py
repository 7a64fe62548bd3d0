"""A card in a process of its own, which can be killed together with its server.

A client of JACK whose server is gone can't be closed, and a process with one should open no other.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

_SECONDS = 300


class CardProcess:
    """As `Card`: plays `sound` (samples, channels) over and over, from its start on, for as long as
    `_SECONDS`. `folder` for files."""

    def __init__(self, server, name: str, sound: np.ndarray, sinks: int, folder: Path):
        self._heard = folder / f"{name}-heard.npy"
        np.save(folder / f"{name}.npy", sound)
        arguments = [server.name, server.period, name, folder / f"{name}.npy", sinks, self._heard]
        self._process = subprocess.Popen(
            [sys.executable, __file__, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout.readline() == "there\n"

    def heard(self) -> np.ndarray:
        """(samples, sinks) so far."""
        self._process.stdin.write("heard\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "saved\n"
        return np.load(self._heard)

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


def _main(server: str, period: str, name: str, sound: str, sinks: str, heard: str) -> None:
    from jack_card import Card, Running

    one = np.load(sound)
    times = -(-_SECONDS * 48000 // len(one))
    running = Running(int(period), name=server)
    card = Card(running, name, np.tile(one, (times, 1)), int(sinks), seconds=_SECONDS)
    card.go()
    print("there", flush=True)
    for _ in sys.stdin:
        np.save(heard, card.heard)
        print("saved", flush=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
