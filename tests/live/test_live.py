"""`rtsep.Live`, as scripts and notebooks use it."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import soundfile
from live_runs import assert_sums_to_mix, late, recorded

import rtsep
from rtsep.errors import Failure, WrongCall

RATE = 16000
QUARTER = {"factory": "quarter_model:build", "output": "none"}


@pytest.fixture
def tone(tmp_path):
    t = np.arange(2 * RATE) / RATE
    soundfile.write(tmp_path / "in.wav", 0.5 * np.sin(2 * np.pi * 220 * t), RATE, "FLOAT")
    return tmp_path / "in.wav"


def test_heard_changed_and_looked_at(tone, tmp_path):
    out, folder = tmp_path / "out.wav", tmp_path / "rec"
    before = threading.active_count()
    live = rtsep.Live(
        input=tone, output=out, record=folder, queue=640, factory="quarter_model:build"
    )
    assert (live.stems, live.primary, live.rate, live.channels) == (
        ("voice", "background"),
        "voice",
        RATE,
        1,
    )
    assert live.latency.internal == sum(live.latency.parts()[k] for k in ("queue", "model")) + int(
        live.latency.rebuffer
    )
    assert not live.running and dict(live.solos) == {"voice": True, "background": False}
    with live:
        assert live.running and not live.wait(0.6)
        meters = live.meters
        live.gains["background"] = 0.5
        assert not any(live.solos.values()) and live.gains == {"voice": 1.0, "background": 0.5}
        assert not live.wait(0.5) and live.stats["steps"] > 100
        live.bypass = True
        assert live.wait(10) and not live.running
    assert meters.keys() == {"input", "output", "voice", "background"}
    assert meters["input"] == pytest.approx(-6, abs=1)
    assert meters["output"] == pytest.approx(-18, abs=1.5)
    assert meters["voice"] == pytest.approx(-21, abs=1)
    assert live.stats["seconds"] == pytest.approx(2 + live.latency.internal / RATE)
    assert live.stats["errors"] == live.notices == []
    assert live.stats["levels_db"].keys() == {"voice", "background"}
    heard = soundfile.read(out, dtype="float32", always_2d=True)[0]
    files = recorded(folder)
    assert_sums_to_mix(files)
    mix = late(soundfile.read(tone, dtype="float32", always_2d=True)[0], live.latency.internal)
    assert heard.shape == mix.shape == files["mix"].shape
    for second, gain in ((0.3, 0.25), (0.95, 0.25 + 0.5 * 0.75), (1.9, 1.0)):
        part = slice(int(second * RATE), int((second + 0.08) * RATE))
        assert np.abs(heard[part] - gain * mix[part]).max() < 5e-3, second
    assert live.stop() == live.stats and threading.active_count() == before
    with pytest.raises(Failure, match="this run is over"):
        live.gains["voice"] = 1


def test_what_fails_inside_completes_the_files(tone, tmp_path):
    with pytest.raises(ZeroDivisionError):
        with rtsep.Live(input=tone, **QUARTER | {"output": tmp_path / "out.wav"}) as live:
            time.sleep(0.3)
            1 / 0  # noqa: B018
    assert soundfile.info(tmp_path / "out.wav").frames > 0.2 * RATE
    assert live.stats["steps"] > 0


def test_never_started_leaves_nothing(tone, tmp_path):
    live = rtsep.Live(input=tone, record=tmp_path / "rec", **QUARTER)
    live.close()
    assert not list((tmp_path / "rec").iterdir()) and live.stats["steps"] == 0
    with pytest.raises(Failure, match="this run is over"):
        live.start()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"clock": "slow"}, "clock 'slow'"),
        ({"on_miss": "panic"}, "--on-miss panic"),
        ({"gains": {"voice": "loud"}}, "a gain of 'loud'"),
        ({"gains": {"voice": float("nan")}}, "a gain of nan"),
        ({"input_gain": 1e6}, "at most 40 dB"),
        ({"ceiling": 2.0}, "a ceiling of 2"),
        ({"idle": -1}, "--idle -1"),
        ({"channels": "0"}, "channels count from 1"),
        ({"routes": {"voice": "x"}}, "--route"),
        ({"output": "out.mp3"}, "ends in .wav"),
    ],
)
def test_wrong_calls(arguments, message):
    with pytest.raises(WrongCall, match=message):
        rtsep.Live(**{"input": "demo"} | QUARTER | arguments)


SCRIPT = """
import io, sys, threading, time
import rtsep

def cell():
    global live
    # As in a notebook: another thread, and outputs that are no files.
    sys.stdout = sys.stderr = io.StringIO()
    try:
        live = rtsep.Live(input="demo", output="none", factory="quarter_model:build")
        live.start()
    finally:
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__

print("once")
thread = threading.Thread(target=cell)
thread.start()
thread.join()
live.wait(0.3)
try:
    live.gains["drums"] = 1
except rtsep.live.live.WrongCall as error:
    print(error)
print(live.stats["steps"] > 20, "torch" in sys.modules, live._session.process.pid)
"""


def test_in_a_script_without_main_guard_that_never_stops(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    once, error, seen = done.stdout.splitlines()
    assert (once, error) == ("once", "no stem 'drums': there is voice, background")
    assert seen.split()[:2] == ["True", "False"]
    worker = seen.split()[2]
    assert subprocess.run(["kill", "-0", worker], capture_output=True).returncode != 0
