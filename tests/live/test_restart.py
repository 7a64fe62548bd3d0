"""A worker that dies or hangs is replaced: what is heard meanwhile, afterwards, and recorded."""

import os
import signal
import sys
import time

import numpy as np
import pytest
from live_runs import Array, Collected, go_on, late, run, wait_for
from mishaps import BASE, FADE, RATE, assert_no_click, check, tone

from rtsep.live.session import Options, Session

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")


def struck(number, seconds=0.4):
    """A `meanwhile` that strikes the worker, and ends the run some time after its replacement."""

    def strike(session):
        go_on(session, seconds)
        os.kill(session.process.pid, number)
        wait_for(lambda: session.workers.restarts == 1)
        go_on(session, seconds)
        session.clock.stop()

    return strike


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["dead", "hung"])
def test_replaced(number, tmp_path):
    """Dry in between, then separated again, aligned to the sample; only what was counted lacks."""
    x = tone(100)
    options = Options(factory="quarter_model:build", record=tmp_path, **BASE)
    r = run(x, RATE, options, struck(number))
    summary = r.summary
    voice, dry = check(r, x, whole=False)
    assert voice[: RATE // 4].all() and voice[-RATE // 5 :].all() and dry.any()
    misses = summary["misses"]
    assert misses["causes"]["worker dead"] > 0 and "worker jumped" not in misses["causes"]
    assert not summary["errors"] and summary["restarts"] == 1
    first, second = (event["event"] for event in summary["events"])
    why = "the worker ended unexpectedly (signal 9)" if number == signal.SIGKILL else "hung for 2"
    assert why in first and "another worker is heard, after " in second
    # The recording lacks the blocks that were counted, and what fades around them, and no more.
    there = late(x, r.latency)[: len(r.heard)]
    lacking = np.abs(r.files["voice"] - 0.25 * there).max(1) > 1e-3
    gaps = np.count_nonzero(np.diff(lacking.astype(int)) > 0)
    assert lacking.sum() <= 64 * misses["total"] + FADE * (gaps + 1)
    assert summary["recording_lost"] == 0


def test_replaced_on_a_clock_that_waits():
    """It waits for the other worker too: nothing is lost, and all but the fade from one to the
    other is what an undisturbed run gives."""
    x = np.random.default_rng(0).normal(0, 0.1, (12 * RATE, 1)).astype(np.float32)
    options = Options(factory="quarter_model:build", paced=False, solo=("voice",))

    def kill(session):
        go_on(session, 0.5)
        os.kill(session.process.pid, signal.SIGKILL)

    calm, struck = run(x, RATE, options), run(x, RATE, options, kill)
    assert struck.summary["restarts"] == 1 and struck.summary["misses"]["total"] == 0
    differs = np.flatnonzero(np.abs(struck.heard - calm.heard) > 1e-6)
    assert len(differs) and np.ptp(differs) < FADE


def test_silence_in_between():
    x = tone(100)
    options = Options(factory="quarter_model:build", on_miss="silence", **BASE)
    r = run(x, RATE, options, struck(signal.SIGKILL))
    assert_no_click(r.heard)
    quiet = np.abs(r.heard[:, 0]) == 0
    assert quiet[r.latency + FADE :].sum() > 64 and not quiet[-RATE // 5 :].all()


def test_three_deaths_in_a_minute(tmp_path):
    """Each crashes after 150 steps; then the run goes on dry, and says why it failed."""

    def wait(session):
        wait_for(lambda: session.workers.error)
        go_on(session, 0.4)
        session.clock.stop()

    x = tone(100)
    options = Options(factory="quarter_model:crashing", record=tmp_path, **BASE)
    r = run(x, RATE, options, wait)
    _, dry = check(r, x, whole=False)
    assert dry[-RATE // 5 :].all()
    died = "the worker failed: ValueError: out of masks"
    assert r.summary["errors"] == [
        f"{died}, and it was the third within a minute; the sound went on dry"
    ]
    assert r.summary["restarts"] == 2
    assert [event["event"].startswith(died) for event in r.summary["events"]] == [1, 0, 1, 0, 1]


def test_a_clock_that_waits_goes_on_dry_without_a_worker():
    options = Options(factory="quarter_model:crashing", paced=False, solo=("voice",))
    x = tone(5)
    r = run(x, RATE, options)
    assert r.summary["misses"]["causes"].keys() == {"worker dead"} and r.summary["errors"]
    assert np.array_equal(r.heard[-RATE:], x[-RATE:])


def test_a_run_ends_while_a_worker_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("MARK", str(tmp_path / "mark"))
    options = Options(factory="quarter_model:slow_to_return", **BASE)
    with Session(Array(tone(100)), Collected(), RATE, 1, options) as session:
        session.start()
        os.kill(session.process.pid, signal.SIGKILL)
        wait_for(lambda: session.workers.events)
        time.sleep(0.5)
        began = time.monotonic()
        summary = session.finish()
        assert time.monotonic() - began < 20  # and not the factory's 30
    assert not summary["errors"] and summary["restarts"] == 0
