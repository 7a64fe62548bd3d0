"""`rtsep run` and `rtsep devices` on a JACK server, as a user calls them: whole processes."""

import json
import re
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import soundfile
from jack_card import WHY_NOT, Card, Server, needs_jack
from live_runs import assert_sums_to_mix, recorded
from test_run_command import RTSEP

from rtsep.cli.main import app
from rtsep.errors import Failure

if WHY_NOT is None:
    from jack_runs import wait_for

pytestmark = needs_jack
QUARTER = ["--factory", "quarter_model:build"]
SYSTEM = ["--input", "system", "--output", "system"]
RATE = 48000


@contextmanager
def run(*arguments):
    """A run under way: its process, and what it has said before its sound began."""
    process = subprocess.Popen(
        [sys.executable, "-u", *RTSEP[1:], *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("worker: "):
                break
        yield process, said
    finally:
        process.kill()
        process.communicate()


def late(said: str, name: str) -> int:
    return int(re.search(rf"^{name} +(\d+)", said, re.M)[1])


@pytest.fixture
def server():
    with Server(256) as server:
        yield server


def test_devices(server):
    card = Card(server, "card", np.zeros((1, 1), np.float32), 3)
    try:
        listed = subprocess.run(
            [*RTSEP[:-1], "devices", "--json", "--host-api", "jack"], capture_output=True, text=True
        )
        table = subprocess.run([*RTSEP[:-1], "devices"], capture_output=True, text=True)
        wrong = subprocess.run(
            [*RTSEP[:-1], "devices", "--host-api", "smoke"], capture_output=True, text=True
        )
    finally:
        card.close()
    rows = {row["name"]: row for row in json.loads(listed.stdout)["devices"]}
    assert set(rows) == {"system", "card"} and listed.stderr == table.stderr == ""
    assert (rows["card"]["input"]["channels"], rows["card"]["output"]["channels"]) == (1, 3)
    assert rows["system"]["input"]["default"] and rows["system"]["rate"] == RATE
    assert all(
        row[kind]["rates"] == [RATE] for row in rows.values() for kind in ("input", "output")
    )
    assert "card (JACK Audio Connection Kit), usually at 48000 Hz" in table.stdout
    assert wrong.returncode == 2 and "--host-api smoke: one of JACK" in wrong.stderr


def test_no_option_is_the_default_devices(server):
    with run(*QUARTER, "--duration", 0.3) as (process, said):
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert "paced clock of 0 'system' (JACK Audio Connection Kit)" in said
    assert "blocks of 256" in said and "voice +0.0 dB solo" in said
    assert re.search(r"^0\.3\d s of sound", out, re.M)


def test_free_equals_separate(server, small_path, tmp_path):
    """Played by the card, separated live, heard by the card: the samples of `rtsep separate`."""
    x = np.random.default_rng(5).normal(0, 0.1, (2 * RATE, 1)).astype(np.float32)
    card = Card(server, "card", x, 1)
    ends = ["--input", "card", "--output", "card", "--duration", 2.5, "--record", tmp_path / "live"]
    try:
        with run("--model", small_path, *ends, "--clock", "free", "--strict") as (process, said):
            card.go()
            card.client.set_freewheel(True)
            out, err = process.communicate(timeout=60)
        heard = card.heard[:, 0]
    finally:
        card.close()
    assert process.returncode == 0, err
    internal, total = late(said, "internal"), late(said, "total")
    live = {name: sound[:, 0] for name, sound in recorded(tmp_path / "live").items()}
    mixture = live["mix"][internal:]
    began = np.flatnonzero(mixture)[0]
    soundfile.write(tmp_path / "in.wav", mixture, RATE, "FLOAT")
    call = ["separate", tmp_path / "in.wav", "--model", small_path, "--out", tmp_path]
    subprocess.run([*RTSEP[:-1], *map(str, call)], check=True, capture_output=True)
    whole = {name: sound[:, 0] for name, sound in recorded(tmp_path / "in").items()}
    assert np.array_equal(mixture[began : began + len(x)], x[:, 0])
    for stem in ("voice", "background"):
        assert np.array_equal(live[stem][internal:], whole[stem])
    # The card is one client: the server hands over what it hears a period later. Over the first
    # second the output rises; then it is the voice, as what is left of the mix without the rest.
    assert total == internal
    begin, length = 3 * RATE // 2, RATE // 4
    at = total + server.period + begin
    voice = whole["voice"][began + begin :][:length]
    assert np.abs(heard[at : at + length] - voice).max() < 1e-6


def test_a_server_that_dies(server, tmp_path):
    """Told to stop: one line that says what to do, exit code 1, and the recording is whole."""
    ends = ["--input", "system", "--output", "system", "--record", tmp_path / "rec"]
    ends += ["--on-device-loss", "stop"]
    with run(*QUARTER, *ends) as (process, _):
        mix = tmp_path / "rec" / "mix.wav"
        wait_for(lambda: mix.exists() and mix.stat().st_size > 50_000)
        server.process.kill()
        out, err = process.communicate(timeout=30)
    assert process.returncode == 1, (process.returncode, err)
    assert re.fullmatch(r"rtsep: \d+ 'system' .* was it unplugged, .*rtsep devices.*\n", err)
    assert "s of sound" in out
    assert_sums_to_mix(recorded(tmp_path / "rec"))


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (["--input", "tape"], 2, "--input tape: no such device or file; there is 0 'system'"),
        (["--input", "speaker"], 2, "'speaker' (JACK Audio Connection Kit) has no inputs"),
        (["--input", "s"], 2, "give more of the name, the index or --host-api"),
        (["--input", "77"], 2, "--input 77: no such device"),
        (["--rate", "44100"], 2, "what opens is 48000 Hz"),
        (["--channels", "1-9"], 2, "--channels: channel 9 of device 0 'system'"),
        (["--route", "voice=1-9"], 2, "--route: channel 9 of device 0 'system'"),
        (["--route", "drums=1"], 2, "no stem 'drums'"),
        (["--clocks", "three"], 2, "--clocks three: auto, one or two"),
        (["--clocks", "two", "--output", "none"], 2, "--clocks two: input and output have to be"),
        (["--clocks", "two", "--clock", "free", *SYSTEM], 2, "--clock free: 0 'system'"),
        (["--exclusive"], 2, "--exclusive: Windows WASAPI and Core Audio"),
        (["--host-api", "ASIO"], 2, "--host-api ASIO: one of JACK"),
        (["--input", "demo", "--output", "none", "--host-api", "JACK"], 2, "--host-api: neither"),
    ],
)
def test_wrong_calls(arguments, code, message, cards):
    with pytest.raises(Failure) as error:
        app(["run", *QUARTER, "--duration", "0.1", *arguments], standalone_mode=False)
    assert error.value.exit_code == code
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.fixture(scope="module")
def cards():
    """A system's two channels, a loudspeaker, and something else whose name has an s."""
    import sounddevice

    with Server(512) as server:
        both = [Card(server, "speaker", None, 2), Card(server, "sampler", np.zeros((1, 1)), 0)]
        sounddevice._terminate()
        sounddevice._initialize()
        yield
        sounddevice._terminate()
        for card in both:
            card.close()
    sounddevice._initialize()
