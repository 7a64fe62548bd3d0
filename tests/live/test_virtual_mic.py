"""A virtual microphone on a real PipeWire, which speaks PulseAudio's protocol: other programs find
it, hear the run in it, and it is gone afterwards, after a crash at the next start."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from jack_card import WHY_NOT, Card, Server
from test_run_command import RTSEP

from rtsep.audio.delay import locate
from rtsep.errors import Failure, WrongCall
from rtsep.live.devices import Device
from rtsep.live.loopback import driver

TOOLS = ("pipewire", "wireplumber", "pipewire-pulse", "dbus-run-session", "pactl", "pacat", "parec")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
needs_server = pytest.mark.skipif(
    bool(MISSING),
    reason=f"no {', '.join(MISSING)} (pipewire-pulse, wireplumber, pulseaudio-utils, dbus)",
)
QUARTER = ["--factory", "quarter_model:build"]
RATE = 48000


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A PipeWire of its own, with all that a desktop runs beside it, and no device."""
    folder = tmp_path_factory.mktemp("sound")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        patch.setenv("XDG_CONFIG_HOME", str(folder))
        patch.setenv("XDG_STATE_HOME", str(folder))
        patch.delenv("PULSE_SERVER", raising=False)
        commands = ["pipewire"], ["dbus-run-session", "--", "wireplumber"], ["pipewire-pulse"]
        processes = []
        for command in commands:
            processes.append(
                subprocess.Popen(
                    command,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            )
            time.sleep(0.5)
        try:
            until = time.monotonic() + 20
            while "pid" not in listed("info"):
                dead = [c[0] for c, p in zip(commands, processes, strict=True) if p.poll()]
                if dead or time.monotonic() > until:
                    pytest.skip(f"{dead or 'PipeWire'} does not start here")
                time.sleep(0.2)
            yield
        finally:
            for process in reversed(processes):
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()


def listed(*what: str) -> str:
    if what == ("info",):
        done = subprocess.run(["pactl", "info"], capture_output=True, text=True)
        return "pid" if done.returncode == 0 else ""
    return subprocess.run(["pactl", "list", *what], capture_output=True, text=True).stdout


def sources() -> list[str]:
    return [line.split("\t")[1] for line in listed("short", "sources").splitlines()]


def begun(*arguments) -> subprocess.Popen:
    """A run whose sound has begun."""
    process = subprocess.Popen(
        [sys.executable, "-u", *RTSEP[1:], *QUARTER, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.said = ""
    for line in process.stdout:
        process.said += line
        if line.startswith("worker: "):
            return process
    raise AssertionError(process.communicate()[1])


@needs_server
def test_other_programs_hear_the_run(server, tmp_path):
    """What they record is the run's sound; it is chosen by its name, and gone at the end."""
    noise = np.random.default_rng(1).normal(0, 0.1, 6 * RATE).astype(np.float32)
    soundfile.write(tmp_path / "in.wav", noise, RATE, "FLOAT")
    heard = tmp_path / "heard"
    run = begun("--input", tmp_path / "in.wav", "--gain", "voice=0dB", "--virtual-mic", "My mic")
    try:
        assert "as the microphone 'My mic'" in run.said
        assert "My_mic" in sources() and "Description: My mic\n" in listed("sources")
        with open(heard, "wb") as file:
            recorder = subprocess.Popen(
                ["parec", "--device=My_mic", "--raw", "--format=float32le", "--channels=1"]
                + [f"--rate={RATE}"],
                stdout=file,
            )
        out, err = run.communicate(timeout=120)
        recorder.terminate()
        recorder.wait()
    finally:
        run.kill()
    assert (run.returncode, err) == (0, "")
    assert "My_mic" not in sources() and "rtsep" not in listed("short", "modules")
    sound = np.fromfile(heard, np.float32).astype(float)
    # All gains at 0 dB: the input itself, as far as a busy machine let it pass.
    assert locate(sound, noise.astype(float), len(noise), 480).sure or (
        locate(noise.astype(float), sound, len(sound), 480).sure
    )


@needs_server
def test_after_a_crash_it_is_removed_at_the_next_start(server):
    run = begun("--input", "none", "--virtual-mic")
    assert "rtsep" in sources()
    second = subprocess.run(
        [*RTSEP, *QUARTER, "--input", "none", "--virtual-mic", "rtsep"],
        capture_output=True,
        text=True,
    )
    assert second.returncode == 1 and f"process {run.pid} has a microphone" in second.stderr
    run.kill()
    run.communicate()
    assert "rtsep" in sources()
    other = begun("--input", "none", "--virtual-mic", "other", "--duration", "0.5")
    try:
        assert "rtsep" not in sources() and "other" in sources()
    finally:
        other.communicate(timeout=60)
    assert "other" not in sources()


@needs_server
def test_without_a_server(server, monkeypatch, tmp_path):
    monkeypatch.setenv("PULSE_SERVER", f"unix:{tmp_path}/none")
    done = subprocess.run(
        [*RTSEP, *QUARTER, "--input", "demo", "--virtual-mic"], capture_output=True, text=True
    )
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert "it takes a running PulseAudio" in done.stderr


@pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
def test_under_jack_it_is_the_clients_ports():
    with Server(256) as jackd:
        card = Card(jackd, "card", np.zeros((1, 1), np.float32), 1)
        try:
            ends = ["--input", "card", "--output", "card", "--duration", "5"]
            run = begun(*ends, "--virtual-mic", "talk")
            ports = [port.name for port in card.client.get_ports(is_output=True)]
            out, err = run.communicate(timeout=60)
        finally:
            card.close()
    assert (run.returncode, err) == (0, "")
    assert "talk:out_0" in ports and "JACK ports talk:out_0" in run.said


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--virtual-mic", "a/b"], "--virtual-mic 'a/b': up to 60 letters"),
        (["--virtual-mic", "--clock", "free"], "with --clock paced"),
        (["--virtual-mic", "--output", "out.wav"], "--output out.wav: --virtual-mic takes"),
    ],
)
def test_wrong_calls(arguments, message):
    from rtsep.cli.main import app

    with pytest.raises(WrongCall) as error:
        app(["run", *QUARTER, "--input", "demo", *arguments], standalone_mode=False)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "platform, names, chosen, microphone",
    [
        ("darwin", ["MacBook Speakers", "BlackHole 2ch"], "BlackHole 2ch", "BlackHole 2ch"),
        ("win32", ["Speakers", "CABLE Input (VB-Audio)"], "CABLE Input (VB-Audio)", "CABLE Output"),
    ],
)
def test_drivers_of_other_systems_are_found_by_name(platform, names, chosen, microphone):
    among = [Device(k, name, "any", 0, 2, 48000, (0, 0)) for k, name in enumerate(names)]
    device, said = driver(among, platform)
    assert device.name == chosen and said == microphone
    with pytest.raises(Failure, match="install a loopback driver"):
        driver(among[:1], platform)


def test_a_driver_is_taken_from_the_host_api_of_the_other_devices():
    among = [
        Device(0, "CABLE Input", "MME", 0, 2, 44100, (0, 0)),
        Device(1, "CABLE Input", "Windows WASAPI", 0, 2, 48000, (0, 0)),
        Device(2, "Speakers", "Windows WASAPI", 0, 2, 48000, (0, 0), default_output=True),
    ]
    assert driver(among, "win32")[0].index == 1
