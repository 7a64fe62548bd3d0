"""`rtsep latency` on a JACK server: a cable of known length is measured, without and with a run."""

import json
import subprocess

import numpy as np
import pytest
from jack_card import WHY_NOT, Server, needs_jack
from test_run_command import RTSEP

if WHY_NOT is None:
    from jack_loop import Loop

pytestmark = needs_jack
PERIOD = 256
QUARTER = ["--factory", "quarter_model:build"]
ENDS = ["--input", "loop", "--output", "loop"]


@pytest.fixture(scope="module")
def server():
    """It runs, and this process sees it."""
    import sounddevice

    with Server(PERIOD) as server:
        sounddevice._terminate()
        sounddevice._initialize()
        yield server
        sounddevice._terminate()
    sounddevice._initialize()


def latency(*arguments):
    return subprocess.run(
        [*RTSEP[:-1], "latency", *map(str, arguments)], capture_output=True, text=True
    )


@pytest.mark.parametrize("delay, gain", [(0, 1.0), (777, -0.1)])
def test_a_cable_of_known_length(server, delay, gain):
    """The server's own period, and the cable's delay; with a run, its table besides."""
    with Loop(server, delay, gain):
        done = latency(*ENDS, *QUARTER, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    alone, run = report["device"], report["engine"]
    assert abs(alone["measured"] - (PERIOD + delay)) < 0.05
    assert alone["inverted"] == run["inverted"] == (gain < 0)
    assert alone["declared"] == 0 and alone["difference"] == alone["measured"]
    # As `rtsep run` counts it, and as the tests of runs on this server measure it.
    assert run["declared"] == run["latency"]["total"] == run["latency"]["internal"]
    assert abs(run["measured"] - (run["latency"]["internal"] + PERIOD + delay)) < 0.05
    assert abs(alone["level_db"] - (20 * np.log10(abs(gain)) - 12)) < 1


def test_what_is_printed(server, small_path):
    """A network with random weights in the path: what it makes of the sweep is found again."""
    with Loop(server, 100):
        done = latency(*ENDS, "--model", small_path)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    measured = [float(words[1]) for words in lines if words[:1] == ["measured"]]
    differences = [float(words[1]) for words in lines if words[:1] == ["difference"]]
    assert np.allclose(measured[0], PERIOD + 100, atol=0.05)
    assert np.allclose(differences, PERIOD + 100, atol=0.05)
    assert "rebuffer" in done.stdout and "queue" in done.stdout


@pytest.mark.parametrize("noise, said", [(0.0, "digital silence from"), (0.2, "is there a cable")])
def test_no_cable(server, noise, said):
    """Nothing of what is played comes back: silence does, or noise."""
    with Loop(server, 0, 0.0, noise):
        done = latency(*ENDS, "--no-engine")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert said in done.stderr and "'loop'" in done.stderr


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--level", "3dB"], "--level 3dB: at most 0dB"),
        (["--level", "loud"], "--level: a gain of 'loud'"),
        (["--channel", "0"], "--channel 0: channels count from 1"),
        (["--channel", "9"], "--channel 9: device"),
        (["--input", "tape"], "--input tape: no such device"),
        (["--rate", "44100"], "what opens is 48000 Hz"),
        (["--model", "nothing"], "nothing"),
    ],
)
def test_wrong_calls(server, arguments, message):
    from rtsep.cli.main import app
    from rtsep.errors import WrongCall

    with pytest.raises(WrongCall) as error:
        app(["latency", *arguments], standalone_mode=False)
    assert message in str(error.value) and "\n" not in str(error.value)
