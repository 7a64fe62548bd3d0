"""A worker that is slow, starved, stopped, poisoned: what is heard, and what is counted."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from live_runs import Array, Collected, late, run
from mishaps import BASE, RATE, TIGHT, check, tone

from rtsep.errors import Failure, WrongCall
from rtsep.live import layout
from rtsep.live.session import Options, Session


def test_slow_steps(tmp_path):
    x = tone(1.6)
    r = run(x, RATE, Options(factory="quarter_model:slow", record=tmp_path, **TIGHT))
    assert r.summary["misses"]["causes"].keys() == {"worker late"}
    assert r.summary["step_ms"]["max"] > 39
    voice, _ = check(r, x)
    assert voice.mean() > 0.6


def test_starved(tmp_path):
    """Steps that take longer than their sound: the worker falls behind, jumps, is counted."""
    x = tone(2.5)
    r = run(x, RATE, Options(factory="quarter_model:starved", record=tmp_path, **BASE))
    assert {"worker late", "worker jumped"} >= r.summary["misses"]["causes"].keys()
    assert r.summary["jumps"] >= 1 and r.summary["rtf"] > 1
    _, dry = check(r, x)
    assert dry.mean() > 0.5


@pytest.mark.parametrize("seconds", [0.2, 0.8], ids=["catches up", "jumps"])
def test_stopped_and_continued(seconds, tmp_path):
    x = tone(seconds + 1.2)

    def pause(session):
        time.sleep(0.5)
        os.kill(session.process.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(session.process.pid, signal.SIGCONT)

    r = run(x, RATE, Options(factory="quarter_model:build", record=tmp_path, **BASE), pause)
    causes = r.summary["misses"]["causes"]
    assert causes["worker late"] > 0.6 * seconds * RATE / 64
    assert ("worker jumped" in causes) == (r.summary["jumps"] == 1) == (seconds > 0.5)
    assert not r.summary["errors"]
    voice, dry = check(r, x)
    assert voice[: RATE // 4].all() and voice[-RATE // 4 :].all()
    assert dry[int((0.5 + seconds / 2) * RATE)].all()


def test_output_that_is_no_number(tmp_path):
    x = tone(1.2)
    r = run(x, RATE, Options(factory="quarter_model:poisoned", record=tmp_path, **BASE))
    assert set(r.summary["misses"]["causes"]) == {"invalid sound"}
    assert r.summary["resets"] >= 4
    assert all(np.isfinite(sound).all() for sound in r.files.values())
    check(r, x)


def test_free_clock_waits_for_a_slow_worker():
    x = tone(1.0)
    options = BASE | {"paced": False}
    r = run(x, RATE, Options(factory="quarter_model:slow", **options))
    assert r.summary["misses"]["total"] == 0
    assert np.abs(r.heard - 0.25 * late(x, r.latency))[2000:].max() < 1e-3


def test_a_stuck_worker_can_be_left():
    """A run on the free clock ends although its worker is stopped for good."""
    x = tone(10.0)
    with Session(
        Array(x), Collected(), RATE, 1, Options(factory="quarter_model:build", paced=False)
    ) as session:
        session.start()
        os.kill(session.process.pid, signal.SIGSTOP)
        time.sleep(0.2)
        pid = session.process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_wrong_calls_leave_no_process():
    before = threading.active_count()
    for error, changes in {
        "no masks today": {"factory": "quarter_model:refusing"},
        "queue 100": {"queue": 100},
        "at least 1 sample": {"blocks": 0},
        "no such model": {"factory": None, "model": "no such model"},
    }.items():
        options = Options(**{"factory": "quarter_model:build"} | changes)
        with pytest.raises(Failure, match=error):
            Session(Array(tone(0.1)), None, RATE, 1, options)
    with pytest.raises(WrongCall, match="no stem 'drums': quarter has voice, background"):
        Session(
            Array(tone(0.1)),
            None,
            RATE,
            1,
            Options(factory="quarter_model:build", solo=("drums",)),
        )
    assert threading.active_count() == before


def test_the_worker_ends_with_its_parent():
    """Killed the hard way, the parent takes the worker along."""
    code = """
import sys, time, numpy as np
from rtsep.live.feeds import Array
from rtsep.live.session import Options, Session
options = Options(factory="quarter_model:build")
s = Session(Array(np.zeros((480000, 1))), None, 48000, 1, options)
s.start()
print(s.process.pid, s.block.name, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid, name = parent.stdout.readline().split()
    parent.kill()
    parent.wait()
    until = time.monotonic() + 5
    while time.monotonic() < until and os.path.exists(f"/proc/{pid}/cmdline"):
        if not open(f"/proc/{pid}/cmdline").read():
            break  # a zombie that nobody has collected yet
        time.sleep(0.05)
    else:
        assert not os.path.exists(f"/proc/{pid}"), "the worker lives on"
    time.sleep(0.3)
    with pytest.raises(Failure):
        layout.Block.attach(name)
