"""On a stage: a device that is played to, a muted microphone, names that promise howling."""

import subprocess
import sys

import numpy as np
import pytest
from jack_card import WHY_NOT, Server, needs_jack

import rtsep
from rtsep.live.feedback import howls

if WHY_NOT is None:
    from jack_runs import table, wait_for

RATE = 48000


@needs_jack
def test_rises_over_a_second_and_says_when_the_input_is_muted():
    x = np.zeros((7 * RATE, 1), np.float32)
    x[: 3 * RATE // 2] = 0.2 + np.random.default_rng(0).normal(0, 0.02, (3 * RATE // 2, 1))
    x[1000:1012] = 1.0
    with table(256, x, 1) as (server, [card]):
        live = rtsep.Live(
            input="card",
            output="card",
            gains={"voice": 1.0},
            factory="quarter_model:build",
            duration=7.5,
        )
        with live:
            card.go()
            wait_for(lambda: card.played > 6.8 * RATE, 20)
        heard, late = card.heard[:, 0], live.latency.total + server.period
    clips, silence = live.notices
    assert clips.startswith("the input clips: ") and live.stats["clipped_input"] == 12
    assert silence.startswith("nothing but digital silence from ") and "'card'" in silence
    assert not live.stats["errors"]
    gain = heard[late : late + 3 * RATE // 2] / x[: 3 * RATE // 2, 0]
    steps = np.diff(gain)
    wrong = np.count_nonzero((steps <= -1e-5) | (steps >= 1e-4)) + np.count_nonzero(
        gain[RATE:] != 1
    )
    # Where the machine did not let the server keep its time, sound is amiss for a moment.
    assert gain[0] < 0.5 and wrong <= live.stats["xruns"] * (late + 2 * server.period)


VANISHING = """
import rtsep
ends = dict(input="system", output="system", on_device_loss="stop")
with rtsep.Live(factory="quarter_model:build", **ends) as live:
    print("begun", flush=True)
    over = live.wait(30)
print(over, live.notices == live.stats["errors"], live.notices)
"""


@needs_jack
def test_a_device_that_vanishes():
    """The run ends where it is to; the program that made it goes on, and knows."""
    with Server(256) as server:
        program = subprocess.Popen(
            [sys.executable, "-c", VANISHING],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert program.stdout.readline() == "begun\n"
        server.process.kill()
        out, err = program.communicate(timeout=60)
    assert program.returncode == 0, err
    assert out.startswith("True True [") and "was it unplugged" in out
    assert len(err.splitlines()) == 1 and "was it unplugged" in err


@needs_jack
def test_no_rise_where_only_a_file_is_written(tmp_path):
    x = np.full((RATE, 1), 0.25, np.float32)
    with table(256, x, 1) as (_, [card]):
        with rtsep.Live(
            input="card",
            output=tmp_path / "out.wav",
            gains={"voice": 1.0},
            factory="quarter_model:build",
        ):
            card.go()
            wait_for(lambda: card.played > 0.4 * RATE)
    import soundfile

    y = soundfile.read(tmp_path / "out.wav", dtype="float32")[0]
    assert set(np.unique(y)) == {0, 0.25}


@pytest.mark.parametrize(
    "input, output",
    [
        ("default", "default"),
        ("pulse", "pulse"),
        ("MacBook Pro Microphone", "MacBook Pro Speakers"),
        ("Microphone Array (Realtek(R) Audio)", "Speakers (Realtek(R) Audio)"),
        ("HDA Intel PCH: ALC257 Analog (hw:0,0)", "HDA Intel PCH: ALC257 Analog (hw:0,0)"),
        ("HD Webcam C920: USB Audio", "default"),
        ("Mikrofon", "Lautsprecher"),
    ],
)
def test_warns_of_howling(input, output):
    warning = howls(input, output, "ALSA")
    assert input in warning and output in warning and "Use headphones" in warning
    assert len(warning.splitlines()) == 1


@pytest.mark.parametrize(
    "input, output, host_api",
    [
        ("MacBook Pro Microphone", "External Headphones", "Core Audio"),
        ("AirPods", "AirPods", "Core Audio"),
        ("Headset Microphone (USB)", "Headset Earphone (USB)", "Windows WASAPI"),
        ("Scarlett 2i2 USB", "Scarlett 2i2 USB", "ASIO"),
        ("Line In (Realtek(R) Audio)", "Speakers (Realtek(R) Audio)", "MME"),
        ("BlackHole 2ch", "MacBook Pro Speakers", "Core Audio"),
        ("Monitor of Built-in Audio", "Built-in Audio", "PulseAudio"),
        ("system", "system", "JACK Audio Connection Kit"),
        ("default", "default", "JACK Audio Connection Kit"),
    ],
)
def test_does_not_warn_where_nothing_howls(input, output, host_api):
    assert howls(input, output, host_api) is None
