"""The desk's process beside a real run: stalled, killed, closed; the sound and the terminal."""

import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from live_runs import assert_sums_to_mix, recorded

from rtsep.desk.link import Lines, line

if sys.platform != "linux":
    pytest.skip("terminals as Linux has them", allow_module_level=True)
from terminals import RTSEP, SHELL, Terminal, is_over

RATE = 16000
CTRL_C = "\x03"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Ten minutes of noise: nobody waits for its end."""
    path = tmp_path_factory.mktemp("sound") / "in.wav"
    x = np.random.default_rng(3).normal(0, 0.1, 600 * RATE).astype(np.float32)
    soundfile.write(path, x, RATE, "FLOAT")
    return path, x


def seconds_of(path):
    return max(0, path.stat().st_size - 58) / 4 / RATE if path.exists() else 0


def assert_left(terminal):
    """The desk's screen is gone, and keys are no desk's any more."""
    terminal.until(lambda: terminal.hears_control_c)
    shown = terminal.shown
    for on, off in (("1049h", "1049l"), ("1003h", "1003l"), ("25l", "25h")):
        assert shown.rindex(f"\x1b[?{on}") < shown.rindex(f"\x1b[?{off}")


def test_stalled_and_killed_nothing_is_lost(sound, tmp_path):
    """The recording goes on to the sample while the desk stands still, and after it was killed."""
    path, x = sound
    with Terminal("--input", path, "--desk", "--record", tmp_path / "rec") as terminal:
        desk = terminal.desk()
        mix = tmp_path / "rec" / "mix.wav"
        os.kill(desk, signal.SIGSTOP)
        begun = seconds_of(mix)
        terminal.until(lambda: seconds_of(mix) > begun + 1.5)
        os.kill(desk, signal.SIGCONT)
        terminal.type("b")
        terminal.until(lambda: seconds_of(mix) > begun + 2)
        os.kill(desk, signal.SIGSTOP)
        os.kill(desk, signal.SIGKILL)
        terminal.until(lambda: "the desk ended unexpectedly (SIGKILL)" in terminal.plain)
        assert_left(terminal)
        begun = seconds_of(mix)
        terminal.until(lambda: seconds_of(mix) > begun + 0.5)
        terminal.until(lambda: re.search(r"s  (BYPASS  )?step p50", terminal.plain))
        terminal.type(CTRL_C)
        assert terminal.ends() == 0 and terminal.modes == terminal.before
        assert "ended by Ctrl-C" in terminal.plain and "recording lost" not in terminal.plain
        latency = int(re.search(r"internal +(\d+)", terminal.plain)[1])
    files = recorded(tmp_path / "rec")
    assert_sums_to_mix(files)
    n = len(files["mix"])
    assert n > 2 * RATE and np.array_equal(files["mix"][latency:, 0], x[: n - latency])


def test_takes_by_key_and_the_end_by_the_desk(sound, tmp_path):
    """r, r, r: two takes, the second open when q q ends the run."""
    path, x = sound
    with Terminal("--input", path, "--desk", "--record", tmp_path / "rec") as terminal:
        terminal.desk()
        first, second = tmp_path / "rec", tmp_path / "rec-2"
        terminal.until(lambda: "● rec 0:0" in terminal.plain)
        terminal.type("r")
        terminal.until(lambda: "recorded to" in terminal.plain)
        terminal.type("r")
        terminal.until(lambda: seconds_of(second / "mix.wav") > 0.5)
        ended = seconds_of(first / "mix.wav")
        terminal.type("q")
        terminal.until(lambda: "q again ends the run" in terminal.plain)
        terminal.type("q")
        assert terminal.ends() == 0
        assert_left(terminal)
        assert terminal.modes == terminal.before
        assert "ended by the desk" in terminal.plain
        assert f"wrote {second / 'mix.wav'}" in terminal.plain.replace("\r\n", "")
        assert seconds_of(first / "mix.wav") == ended
    for folder in (first, second):
        files = recorded(folder)
        assert_sums_to_mix(files)
        mix = files["mix"][:, 0][-RATE // 4 :]
        [at] = np.flatnonzero(
            (x[: 300 * RATE] == mix[0]) & (np.roll(x, -9)[: 300 * RATE] == mix[9])
        )
        assert np.array_equal(x[at : at + len(mix)], mix)


def test_a_key_pressed_at_once_means_what_is_shown(sound, tmp_path):
    """r as soon as the answer to the last r is on the screen: takes begin and end in turns."""
    path, _ = sound
    with Terminal("--input", path, "--desk", "--record", tmp_path / "rec") as terminal:
        terminal.desk()
        terminal.until(lambda: "● rec 0:0" in terminal.plain)
        for said in ["recorded to", "recording to"] * 6:
            before = terminal.plain.count(said)
            terminal.type("r")
            terminal.until(lambda said=said, n=before: terminal.plain.count(said) > n, every=0.01)
    assert len(list(tmp_path.glob("rec*"))) == 7


def test_the_model_is_changed_by_key(sound, small_path):
    path, _ = sound
    with Terminal("--input", path, "--desk") as terminal:
        terminal.desk()
        for name in ("nonsense", small_path):
            asked = terminal.plain.count("checkpoint's file")
            terminal.type("c")
            terminal.until(lambda n=asked: terminal.plain.count("checkpoint's file") > n)
            terminal.type(f"{name}\r")
            terminal.until(lambda: "no model 'nonsense'" in terminal.plain)
        terminal.until(lambda: "is heard in place of quarter" in terminal.plain)
        terminal.type(CTRL_C)
        assert terminal.ends() == 0 and "ended by the desk" in terminal.plain


def test_closed_the_run_goes_on(sound):
    path, _ = sound
    with Terminal("--input", path, "--desk") as terminal:
        terminal.desk()
        terminal.type("x")
        terminal.until(lambda: "the desk is closed: the run goes on" in terminal.plain)
        assert_left(terminal)
        terminal.until(lambda: re.search(r"s  (BYPASS  )?step p50", terminal.plain))
        os.kill(terminal.process.pid, signal.SIGTERM)
        assert terminal.ends() == 0 and "ended by SIGTERM" in terminal.plain
        assert terminal.modes == terminal.before


def test_a_run_that_is_killed_takes_its_desk_along(sound):
    path, _ = sound
    with Terminal(call=[*SHELL, *RTSEP, "--input", str(path), "--desk"]) as terminal:
        desk = terminal.desk()
        os.kill(terminal.find("run"), signal.SIGKILL)
        terminal.until(lambda: is_over(desk))
        assert_left(terminal)
        assert terminal.modes == terminal.before


HUNG = """
import time, numpy as np
from rtsep.desk.link import Hello
from rtsep.desk.process import DeskProcess
from rtsep.live.feeds import Silence
from rtsep.live.session import Options, Session
options = Options(factory="quarter_model:build", recordable=True)
with Session(Silence(1, 16000), None, 16000, 1, options) as session:
    session.start()
    with DeskProcess(session, Hello("", "", "paced", "", False), patience=2) as desk:
        while desk.there():
            time.sleep(0.1)
    print(desk.last_words, flush=True)
    session.finish()
"""


def test_a_desk_that_hangs_gives_the_terminal_back():
    with Terminal(call=[sys.executable, "-c", HUNG]) as terminal:
        os.kill(terminal.desk(), signal.SIGSTOP)
        terminal.until(lambda: re.search(r"the desk hung for \d s and was ended", terminal.plain))
        assert_left(terminal)
        assert terminal.ends() == 0 and terminal.modes == terminal.before


def test_without_a_terminal():
    done = subprocess.run(
        [*RTSEP, "--desk"], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr == "rtsep: --desk: standard input and output have to be a terminal\n"


def test_without_textual():
    hide = "import sys; sys.modules['textual'] = None; sys.argv[0] = 'rtsep'"
    run = f"{hide}; from rtsep.cli.main import main; sys.argv[1:] = ['run', '--desk']; main()"
    with Terminal(call=[sys.executable, "-c", run]) as terminal:
        assert terminal.ends() == 1
        assert terminal.plain == "rtsep: --desk needs textual: pip install 'rtsep[live]'\r\n"


def test_lines_are_cut_anywhere():
    data = line(alive=True) + b"\xff\nnull\n" + line(record=False)
    for size in (1, 3, 1000):
        lines = Lines()
        said = [m for k in range(0, len(data), size) for m in lines.feed(data[k : k + size])]
        assert said == [{"alive": True}, {"record": False}]
