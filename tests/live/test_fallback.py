"""A model that is too slow for a while: a lighter one takes over, and gives it back."""

import signal
import subprocess
import sys

import numpy as np
import pytest
from live_runs import Array, go_on, run, wait_for
from mishaps import BASE, RATE, check, tone

from rtsep.errors import WrongCall
from rtsep.live.session import Options, Session

SLOW = {"factory": "quarter_model:overloaded", "fallback": "quarter_model:half"}


def test_falls_back_and_returns(tmp_path, monkeypatch):
    mark = tmp_path / "mark"
    mark.touch()
    monkeypatch.setenv("MARK", str(mark))
    x = tone(200)

    def meanwhile(session):
        wait_for(lambda: session.info["model"] == "half")
        go_on(session, 0.3)
        mark.unlink()
        wait_for(lambda: session.info["model"] == "quarter")
        go_on(session, 0.3)
        session.clock.stop()

    quiet = {"fallback_quiet": 0.5, "fallback_share": 0.2}
    r = run(x, RATE, Options(record=tmp_path / "rec", **SLOW, **quiet, **BASE), meanwhile)
    check(r, x, whole=False, least=0)
    summary = r.summary
    assert summary["model"] == "quarter" and summary["fallbacks"] >= 1 and not summary["errors"]
    events = [event["event"] for event in summary["events"]]
    assert "% of the last 2 s was late: quarter_model:half is to take over" in events[0]
    assert "half (test, chunks of 64) is heard in place of quarter (" in events[1]
    assert events[2].startswith("no block was late for ") and "quarter (test" in events[3]
    dry = np.concatenate([np.zeros((r.latency, 1), np.float32), x])[: len(r.heard)]
    assert (np.abs(r.heard - 0.5 * dry) < 1e-3).mean() > 0.05  # the fallback's own sound


def test_follows_one_that_is_always_late():
    """On a short queue: whoever follows must be in time without being woken by the one before."""

    def meanwhile(session):
        go_on(session, 0.5)
        session.swap(factory="quarter_model:half").result(100)
        session.clock.stop()

    r = run(tone(200), RATE, Options(factory="quarter_model:starved"), meanwhile)
    assert r.summary["model"] == "half" and not r.summary["errors"]


def test_the_latency_is_the_longer_ones_from_the_beginning():
    options = Options(factory="quarter_model:build", fallback="quarter_model:long", **BASE)
    with Session(Array(tone(1)), None, RATE, 1, options) as session:
        latency = session.latency
        assert latency.padding == 2 * 12 * 48 and latency.parts()["internal"] == latency.internal
        session.start()
        assert session.finish()["latency"]["padding"] == 2 * 12 * 48


@pytest.mark.parametrize(
    "changes, error",
    [
        ({"fallback": "quarter_model:overloaded"}, "that is the model itself"),
        ({"fallback": "quarter_model:refusing"}, "no masks today"),
        ({"routes": {"background": (0,)}, "fallback": "quarter_model:trio"}, "an output plays"),
        ({"record": "nowhere", "fallback": "quarter_model:trio"}, "goes on in the same files"),
    ],
)
def test_what_can_be_no_fallback(changes, error):
    with pytest.raises(Exception, match=error):
        Session(Array(tone(1)), None, RATE, 1, Options(**SLOW | changes))


@pytest.mark.parametrize(
    "changes, error",
    [
        ({"paced": False}, "never late"),
        ({"fallback_share": 0}, "--fallback-share 0: more than 0"),
        ({"fallback_quiet": 0}, "--fallback-quiet 0: more than 0"),
    ],
)
def test_wrong_options(changes, error):
    with pytest.raises(WrongCall, match=error):
        Options(**SLOW | changes).check()


@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
def test_the_command_says_so(tmp_path, monkeypatch):
    (tmp_path / "mark").touch()
    monkeypatch.setenv("MARK", str(tmp_path / "mark"))
    ends = ["--input", "none", "--output", "none", "--duration", "200", "--fallback-share", "0.2"]
    running = subprocess.Popen(
        [sys.executable, "-m", "rtsep", "run", "--factory", SLOW["factory"], *ends]
        + ["--fallback", SLOW["fallback"]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in running.stdout:
        if "is heard in place of" in line:
            break
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=100)
    assert (running.returncode, err) == (0, "")
    assert "the fallback was needed once\n" in out
