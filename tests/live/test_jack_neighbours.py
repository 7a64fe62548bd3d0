"""A run on a JACK server while others want the machine: busy Python threads in its own process,
and a process that copies memory all the time."""

import subprocess
import sys
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from jack_card import WHY_NOT, needs_jack

from rtsep.live.options import Options

if WHY_NOT is None:
    from jack_runs import assert_same, play, wait_for

pytestmark = needs_jack
RATE = 48000
HOG = "import numpy as np\nx = np.ones(1 << 24)\nwhile True: x = x.copy()"


@contextmanager
def neighbours():
    """Two threads that hold the interpreter's lock, one process that wants the memory's width."""
    stop = threading.Event()

    def count():
        while not stop.is_set():
            sum(range(1000))

    threads = [threading.Thread(target=count) for _ in range(2)]
    hog = subprocess.Popen([sys.executable, "-c", HOG])
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        hog.kill()
        hog.wait()


def listen(seconds: float):
    """An impulse every quarter of a second through voice, soft noise through the mix."""
    x = np.random.default_rng(6).normal(0, 0.01, (int(seconds * RATE), 1)).astype(np.float32)
    at = np.arange(RATE // 8 + 7, len(x), RATE // 4)
    x[at, 0] = 0.75
    period = 64
    options = Options(
        factory="quarter_model:build", routes={"mix": (0,), "voice": (1,)}, fade_up=0.0
    )

    def meanwhile(session, cards):
        with neighbours():
            wait_for(lambda: cards[0].played >= len(x), seconds + 20)

    played = play(period, x, options, sinks=2, meanwhile=meanwhile, patience=seconds + 20)
    late = played.latency.total + period
    mix, voice = played.heard[late : late + len(x)].T
    # No call was lost and none came late: what needs no worker is the input, bit for bit.
    assert_same(mix, x[:, 0], played, late)
    assert played.summary["callbacks"] >= len(x) // period and not played.summary["errors"]
    # Voice is there where the table says, but for counted misses.
    gone = sum(np.abs(voice[t - 20 : t + 21]).argmax() != 20 for t in at)
    causes, xruns = played.summary["misses"], played.summary["xruns"]
    assert gone <= causes["total"] + xruns
    if played.summary["granted"].startswith("real-time"):
        assert gone <= len(at) // 10 + xruns, causes


def test_busy_neighbours():
    listen(4)


@pytest.mark.long
def test_busy_neighbours_for_a_minute():
    listen(60)
