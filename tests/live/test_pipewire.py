"""A run on PipeWire, which is a JACK server to those who load its JACK library."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from jack_card import needs_jack

LIBRARIES = list(Path("/usr/lib").glob("**/pipewire-*/jack")) if sys.platform == "linux" else []

pytestmark = [
    needs_jack,
    pytest.mark.skipif(
        not LIBRARIES or shutil.which("pipewire") is None,
        reason="no PipeWire with its JACK library (scripts/audio)",
    ),
]

# In a process of its own, for the library is found when a process starts.
CODE = """
import json, sys
import numpy as np
from jack_card import Running, jack
from jack_runs import play
from rtsep.live.options import Options

probe = jack.Client("probe")
period, rate = probe.blocksize, probe.samplerate
probe.close()
x = np.random.default_rng(4).normal(0, 0.02, (rate, 1)).astype("f4")
block = eval(sys.argv[1])
options = Options(factory="quarter_model:build", blocks=block, routes={"mix": (0,)}, fade_up=0.0)
played = play(period, x, options, ends={"duration": 2.0}, server=Running(period, rate))
heard = played.heard[:, 0]
began = int(np.flatnonzero(heard)[0])
print(json.dumps({
    "period": period,
    "late": began,
    "wrong": int(np.count_nonzero(heard[began:][: len(x)] != x[: len(heard) - began, 0])),
    "latency": played.latency.as_json(),
    "told": played.latency.told,
    "delivery": played.latency.delivery,
    "xruns": played.summary["xruns"],
}))
"""


@pytest.fixture
def pipewire(tmp_path, monkeypatch):
    """A PipeWire of its own, where it starts."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    paths = [str(LIBRARIES[0]), os.environ.get("LD_LIBRARY_PATH", "")]
    monkeypatch.setenv("LD_LIBRARY_PATH", os.pathsep.join(filter(None, paths)))
    server = subprocess.Popen(
        ["pipewire"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path
    )
    until = time.monotonic() + 5
    while not (tmp_path / "pipewire-0").exists():
        if server.poll() is not None or time.monotonic() > until:
            server.kill()
            server.wait()
            pytest.skip("PipeWire does not start here")
        time.sleep(0.05)
    yield
    server.terminate()
    server.wait()


@pytest.mark.parametrize("block", [None, 256])
def test_latency(pipewire, block):
    """Late by the table, PipeWire's own way round the loop, and what PortAudio holds back, which
    the table has, or says that it was not told."""
    run = [sys.executable, "-c", CODE, str(block)]
    path = os.pathsep.join([str(Path(__file__).parent), os.environ["PYTHONPATH"]])
    done = subprocess.run(
        run, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}, timeout=60
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    held_back = 0 if report["told"] or block is None else block
    assert report["late"] == report["latency"]["total"] + held_back + report["period"]
    assert not report["wrong"] or report["xruns"]
    assert report["delivery"] == max(report["period"], block or 0)
