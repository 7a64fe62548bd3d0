"""How a run ends, or goes on all the same: signals, a closed terminal, suspension, a full disk."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile
from live_runs import assert_sums_to_mix, recorded

RTSEP = [sys.executable, "-m", "rtsep", "run", "--factory", "quarter_model:build"]
RTSEP += ["--input", "demo"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")


class Going:
    """`rtsep run` of the demo to a file and a recording; it is going once it says so."""

    def __init__(self, folder, *arguments, **options):
        self.heard, self.recording = folder / "heard.wav", folder / "rec"
        self.process = subprocess.Popen(
            [*RTSEP, "--output", self.heard, "--record", self.recording, *arguments],
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options,
        )

    def wait(self, seconds=0.7):
        """Until it has recorded something."""
        until = time.monotonic() + 200
        mix = self.recording / "mix.wav"
        while not (mix.exists() and mix.stat().st_size > 1000):
            assert time.monotonic() < until and self.process.poll() is None
            time.sleep(0.05)
        time.sleep(seconds)

    def worker(self, seconds=0.0):
        """The worker's process, waited for so long."""
        pid, until = self.process.pid, time.monotonic() + seconds
        while True:
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                if b"rtsep.live.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
            assert time.monotonic() < until, "no worker"
            time.sleep(0.01)

    def assert_complete(self):
        files = recorded(self.recording)
        assert_sums_to_mix(files)
        assert len(files["mix"]) == soundfile.info(self.heard).frames > 4000


def gone(pid, seconds=5):
    until = time.monotonic() + seconds
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_asked_to_end_it_completes_its_files(name, tmp_path):
    going = Going(tmp_path)
    going.wait()
    going.process.send_signal(signal.Signals[name])
    out, err = going.process.communicate(timeout=100)
    assert (going.process.returncode, err) == (0, "")
    if name == "SIGTERM":
        assert "ended by SIGTERM" in out
    going.assert_complete()


@pytest.mark.skipif(sys.platform != "linux", reason="finds the worker through /proc")
def test_ctrl_c_twice_ends_at_once(tmp_path):
    """The worker hangs, so that ending takes its time; what was recorded is whole all the same."""
    going = Going(tmp_path)
    going.wait()
    worker = going.worker()
    os.kill(worker, signal.SIGSTOP)
    going.process.send_signal(signal.SIGINT)
    time.sleep(0.8)
    assert going.process.poll() is None
    going.process.send_signal(signal.SIGINT)
    out, err = going.process.communicate(timeout=100)
    assert going.process.returncode == 130 and err == ""
    assert gone(worker) and not going.heard.exists()
    files = recorded(going.recording)
    shortest = min(len(sound) for sound in files.values())
    assert shortest > 4000
    assert_sums_to_mix({name: sound[:shortest] for name, sound in files.items()})


@pytest.mark.skipif(sys.platform != "linux", reason="finds the worker through /proc")
def test_ctrl_c_before_it_begins(tmp_path):
    """While the worker loads what it needs to build the engine."""
    going = Going(tmp_path, start_new_session=True)
    going.worker(100)
    os.killpg(going.process.pid, signal.SIGINT)
    going.process.communicate(timeout=100)
    assert going.process.returncode in (130, -signal.SIGINT)
    assert not going.heard.exists() and not list(tmp_path.rglob("*.wav"))


@pytest.mark.skipif(sys.platform != "linux", reason="gets a controlling terminal Linux's way")
def test_a_closed_terminal(tmp_path):
    """The run loses its terminal while it draws its status line there."""
    import fcntl
    import pty
    import termios

    outside, inside = pty.openpty()
    going = Going(
        tmp_path,
        stdin=inside,
        stdout=inside,
        stderr=inside,
        text=False,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(inside)
    going.wait()
    worker = going.worker()
    screen = os.read(outside, 100_000)
    os.close(outside)
    assert going.process.wait(100) == 0
    assert b"misses" in screen and b"\x1b[K" in screen
    assert gone(worker)
    going.assert_complete()


@pytest.mark.skipif(sys.platform != "linux", reason="finds the worker through /proc")
def test_suspended_and_resumed(tmp_path):
    """Both processes stand still for a while, as in a suspended machine, and go on where they
    were: the same latency, all of the sound, and nothing played late."""
    going = Going(tmp_path, "--duration", "2.5", "--queue", "1920", "--json")
    going.wait(0.3)
    both = (going.process.pid, going.worker())
    for pid in both:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(1.5)
    for pid in both:
        os.kill(pid, signal.SIGCONT)
    out, err = going.process.communicate(timeout=100)
    assert (going.process.returncode, err) == (0, "")
    summary = json.loads(out)
    assert summary["clock_stalls"] >= 1 and not summary["interrupted"]
    assert summary["misses"]["total"] < 0.3 * summary["callbacks"]
    going.assert_complete()
    mix = recorded(going.recording)["mix"]
    late = summary["latency"]["internal"]
    demo = soundfile.read(_demo(), dtype="float32", always_2d=True)[0][: len(mix) - late]
    assert (mix[late:] == demo).all() and not mix[:late].any()


def _demo():
    from rtsep import demo

    return demo.path()
