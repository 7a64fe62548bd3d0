"""Whole runs on a JACK server: a session in this process, a card that plays and listens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import sounddevice
from jack_card import Card, Running, Server
from live_runs import recorded

from rtsep.live.ends import Ends
from rtsep.live.latency import Latency
from rtsep.live.opening import open_session
from rtsep.live.options import Options


@dataclass
class Played:
    heard: np.ndarray  # (samples, sinks), from the moment on at which the card began to play
    latency: Latency
    summary: dict
    files: dict[str, np.ndarray]
    said: list[str]


@contextmanager
def table(
    period: int, sound, sinks: int, apart: bool = False, server=None
) -> Iterator[tuple[Server, list]]:
    """A server and a card ("card"), or a microphone and a loudspeaker ("mic", "speaker"), and
    PortAudio started anew, so that it sees them."""
    with ExitStack() as stack:
        server = server or stack.enter_context(Server(period))
        kept = len(sound) / server.rate + 5
        if apart:
            cards = [Card(server, "mic", sound), Card(server, "speaker", None, sinks, kept)]
        else:
            cards = [Card(server, "card", sound, sinks, kept)]
        for card in cards:
            stack.callback(card.close)
        sounddevice._terminate()
        sounddevice._initialize()
        try:
            yield server, cards
        finally:
            sounddevice._terminate()
            # Nothing of the server's is left when it ends.
            stack.close()
            sounddevice._initialize()


def play(
    period: int,
    sound: np.ndarray,
    options: Options,
    *,
    sinks: int = 1,
    apart: bool = False,
    free: bool = False,
    ends: dict | None = None,
    meanwhile=lambda session, cards: None,
    patience: float = 30,
    server: Running | None = None,
) -> Played:
    """Plays `sound` (samples, channels) once through a run between the card's ends; `free`: the
    server waits for everybody, in place of the clock."""
    said: list[str] = []
    with table(period, sound, sinks, apart, server) as (_, cards):
        names = [card.client.name for card in cards]
        between = {"input": names[0], "output": names[-1], "duration": len(sound) / 48000 + 0.25}
        between |= ends or {}
        with open_session(Ends(**between), options, say=said.append) as session:
            session.start()
            for card in reversed(cards):
                card.go()
            if free:
                cards[0].client.set_freewheel(True)
            meanwhile(session, cards)
            assert session.join(patience), "the run does not end"
            summary = session.finish()
            latency = session.latency
        heard = cards[-1].heard
        if apart:
            # The loudspeaker may have begun a little before the microphone.
            heard = heard[(cards[0].began - cards[-1].began) :]
    return Played(heard, latency, summary, recorded(options.record), said)


def assert_same(heard: np.ndarray, x: np.ndarray, played: Played, late: int) -> None:
    """What was heard is x, bit for bit. Where the machine did not let the server keep its time, and
    the run counted that, sound is amiss until the run has nothing of that moment any more."""
    xruns = played.summary["xruns"]
    wrong = np.count_nonzero(heard != x)
    assert wrong <= xruns * (late + 2 * played.latency.delivery), (wrong, xruns)


def wait_for(condition, seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)
