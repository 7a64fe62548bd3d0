"""Keys: what they do to the controls, and in a real terminal."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time

import pytest
from live_desk import desk

from rtsep.audio.levels import to_db
from rtsep.live.keys import HELP, Keys


def test_each_key():
    with desk() as (_, controls):
        keys = Keys(controls)
        assert keys.stem == "drums" and keys.press("x") == keys.press("9") == ""
        assert controls.untouched
        assert keys.press("2") == "bass is chosen" and controls.untouched
        assert keys.press("+") == "bass: +1.0 dB" and not controls.untouched
        for key in "---":
            said = keys.press(key)
        assert said == "bass: -2.0 dB" and to_db(controls.gains["bass"]) == pytest.approx(-2)
        assert keys.press("0") == "bass: +0.0 dB" and controls.gains["bass"] == 1
        assert keys.press("m") == "bass: mute on" and controls.mutes["bass"]
        assert keys.press("m") == "bass: mute off" and not controls.mutes["bass"]
        assert keys.press("1") + keys.press("s") == "drums is chosendrums: solo on"
        assert controls.heard == {"drums": 1, "bass": 0, "vocals": 0}
        assert keys.press("b") == "bypass on" and controls.bypass
        assert keys.press("b") == "bypass off" and not controls.bypass


class Terminal:
    """`rtsep run` in a terminal of its own."""

    def __init__(self, *arguments):
        self._ours, theirs = pty.openpty()
        self.before = termios.tcgetattr(self._ours)
        command = [sys.executable, "-m", "rtsep", "run", *arguments]
        script = (
            "import os, sys, fcntl, termios;"
            "os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, *command], stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        self.seen = ""

    def type(self, keys):
        os.write(self._ours, keys.encode())

    def expect(self, pattern, seconds=240):
        until = time.monotonic() + seconds
        while not (match := re.search(pattern, self.seen)):
            assert time.monotonic() < until, self.seen
            if select.select([self._ours], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self._ours, 4096).decode()
                except OSError:
                    assert re.search(pattern, self.seen), self.seen
        self.seen = self.seen[match.end() :]

    def until(self, condition, seconds=60):
        limit = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < limit
            time.sleep(0.02)

    @property
    def echoes(self):
        return bool(termios.tcgetattr(self._ours)[3] & termios.ECHO)

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@pytest.fixture
def terminal():
    terminal = Terminal("--factory", "quarter_model:build", "--input", "none", "--output", "none")
    yield terminal
    terminal.close()


def test_in_a_terminal(terminal):
    terminal.expect(re.escape(HELP))
    terminal.expect("voice -120 dB")
    assert not terminal.echoes
    terminal.type("2+")
    terminal.expect(r"background: \+1.0 dB")
    terminal.type("b\x1b[A")
    terminal.expect("bypass on .*BYPASS")
    # Stopped by Ctrl-Z the shell has its terminal; back in front, keys act again.
    terminal.process.send_signal(signal.SIGTSTP)
    terminal.until(lambda: terminal.echoes)
    terminal.process.send_signal(signal.SIGCONT)
    terminal.until(lambda: not terminal.echoes)
    terminal.type("q")
    terminal.expect("ended by q")
    assert terminal.process.wait(60) == 0
    assert termios.tcgetattr(terminal._ours) == terminal.before


def test_a_terminal_is_as_before_after_ctrl_c(terminal):
    terminal.expect("voice -120 dB")
    terminal.type("\x03")
    terminal.expect("ended by Ctrl-C")
    assert terminal.process.wait(60) == 0
    assert termios.tcgetattr(terminal._ours) == terminal.before


def test_no_keys_where_input_is_no_terminal():
    done = subprocess.run(
        [sys.executable, "-m", "rtsep", "run", "--factory", "quarter_model:build"]
        + ["--clock", "free", "--duration", "0.2"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0 and HELP not in done.stdout
