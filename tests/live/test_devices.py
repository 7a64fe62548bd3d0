"""Which device, channel or file is meant, and how a host delivers: all that needs no device."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtsep.errors import WrongCall
from rtsep.live import layout
from rtsep.live.delivery import Delivery, observed
from rtsep.live.devices import INPUT, OUTPUT, Device, choose, default
from rtsep.live.ends import Ends, is_file
from rtsep.live.gate import Gate, bound
from rtsep.live.layout import Block
from rtsep.live.realtime import governor, hurry_threads
from rtsep.live.wakeup import Wakeup
from rtsep.live.wiring import Wiring, parse_channels, parse_routes

RATE = 48000


def device(index, name, inputs, outputs, api="ALSA", **defaults):
    return Device(index, name, api, inputs, outputs, RATE, (0.01, 0.01), **defaults)


SHELF = [
    device(0, "Built-in Microphone", 2, 0, default_input=True),
    device(1, "Built-in Output", 0, 2, default_output=True),
    device(2, "USB Interface", 8, 8),
    device(3, "USB Headset", 1, 2),
    device(4, "USB Interface", 8, 8, "JACK"),
    device(5, "system", 2, 2, "JACK"),
]


@pytest.mark.parametrize(
    "text, kind, index",
    [
        ("3", INPUT, 3),
        ("headset", OUTPUT, 3),
        ("MICRO", INPUT, 0),
        ("system", OUTPUT, 5),
        ("built", INPUT, 0),
        ("built", OUTPUT, 1),
    ],
)
def test_a_device_is_named(text, kind, index):
    assert choose(text, kind, SHELF).index == index


def test_the_host_api_of_the_other_device_decides():
    assert choose("USB Interface", OUTPUT, SHELF, beside=SHELF[5]).index == 4
    assert choose("USB Interface", OUTPUT, SHELF, beside=SHELF[0]).index == 2
    assert default(OUTPUT, SHELF, beside=SHELF[0]).index == 1
    assert default(OUTPUT, SHELF, beside=SHELF[5]).index == 5
    assert default(INPUT, SHELF).index == 0
    assert default(INPUT, SHELF[1:2]) is None


@pytest.mark.parametrize(
    "text, kind, words",
    [
        ("usb", INPUT, "2 'USB Interface' (ALSA), 3 'USB Headset' (ALSA), 4 'USB Interface'"),
        ("usb interface", INPUT, "--host-api"),
        ("Built-in Output", INPUT, "1 'Built-in Output' (ALSA) has no inputs"),
        ("1", INPUT, "has no inputs"),
        ("9", INPUT, "there is 0 'Built-in Microphone' (ALSA), 2"),
        ("tape", OUTPUT, "--output tape: no such device or file; there is 1 'Built-in Output'"),
    ],
)
def test_what_is_wrong_with_a_name(text, kind, words):
    with pytest.raises(WrongCall) as error:
        choose(text, kind, SHELF)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_channels():
    assert parse_channels("1-2") == (0, 1)
    assert parse_channels("3") == (2,)
    assert parse_channels("4, 1-2") == (3, 0, 1)
    assert parse_routes(["voice=1-2", "mix = 3"]) == {"voice": (0, 1), "mix": (2,)}


@pytest.mark.parametrize("text", ["", "0", "2-1", "1-", "a", "1,1", "1-2,2", "-1", "33", "1.5"])
def test_wrong_channels(text):
    with pytest.raises(WrongCall, match="--channels"):
        parse_channels(text)


@pytest.mark.parametrize(
    "texts, words",
    [
        (["voice"], "STEM=CHANNELS"),
        (["=1"], "STEM=CHANNELS"),
        (["voice=1", "background=1"], "channel 1 plays voice already"),
        (["voice=1", "voice=2"], "routed already"),
        (["voice=x"], "--route voice"),
    ],
)
def test_wrong_routes(texts, words):
    with pytest.raises(WrongCall, match=words):
        parse_routes(texts)


def test_routes_reach_the_block():
    wiring = Wiring(4, (2, 0), 5, {"voice": (1, 2), "mix": (4,)})
    with Block.create(rate=RATE, channels=2, stems=2, block=64, latency=0, outputs=5) as block:
        wiring.apply(block, ("voice", "background"))
        h = block.i64
        assert list(h[layout.IN_CHANNEL : layout.IN_CHANNEL + 2]) == [2, 0]
        buses = [layout.SILENT, layout.STEM, layout.STEM, layout.SILENT, layout.MIX]
        assert list(h[layout.OUT_BUS : layout.OUT_BUS + 5]) == buses
        assert list(h[layout.OUT_CHANNEL + 1 : layout.OUT_CHANNEL + 3]) == [0, 1]


def test_files_and_devices_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Scarlett").write_bytes(b"")
    files = ("talk.wav", f"{tmp_path}/b", "none/out.wav", "Scarlett")
    assert all(is_file(name) for name in files)
    others = ("demo", "none", "USB", "3", "Front 1.5", "S/PDIF")
    assert not any(is_file(name) for name in others)
    with pytest.raises(WrongCall, match=r"out\.mp3"):
        Ends(output="out.mp3").check()


def calls(groups, rate, period, jitter=0.0, seed=1):
    """(ns, frames) of a host that hands over these groups of calls, one every `period` frames."""
    rng = np.random.default_rng(seed)
    times, frames = [], []
    for k, group in enumerate(groups):
        at = k * period / rate + jitter * rng.random()
        for j, n in enumerate(group):
            times.append(int(1e9 * (at + 20e-6 * j)))
            frames.append(n)
    return np.array(times), np.array(frames)


@pytest.mark.parametrize("jitter", [0.0, 0.1e-3])
@pytest.mark.parametrize(
    "groups, period, expected",
    [
        ([(64,)] * 50, 64, Delivery(64, 64, 64)),
        ([(64, 64)] * 50, 128, Delivery(64, 64, 128)),
        ([(480,)] * 20, 480, Delivery(480, 480, 480)),
        ([(256, 256, 188), (256, 256)] * 9, 512, Delivery(256, 1, 700)),
        ([(100,), (100,), (100,), (100, 100)] * 5, 128, Delivery(100, 100, 200)),
        # Seen once in so short a time, or not at all, and still to be reckoned with.
        ([(1000,)] * 12, 1024, Delivery(1000, 1000, 2000)),
    ],
    ids=["single", "twice", "large", "varying", "odd", "rare"],
)
def test_delivery_is_observed(groups, period, expected, jitter):
    assert observed(*calls(groups, RATE, period, jitter), RATE) == expected


@pytest.mark.parametrize(("deliveries", "hiccups"), [(30, 1), (150, 5)])
def test_hiccups_are_no_delivery(deliveries, hiccups):
    groups = [(64,)] * deliveries
    groups[17 : 17 + 9 * hiccups : 9] = [(64, 64, 64)] * hiccups
    assert observed(*calls(groups, RATE, 64), RATE) == Delivery(64, 64, 64)


@given(st.integers(1, 6), st.sampled_from([32, 64, 441, 1024]))
def test_any_burst(calls_at_once, block):
    groups = [(block,) * calls_at_once] * 40
    found = observed(*calls(groups, RATE, block * calls_at_once), RATE)
    assert found == Delivery(block, block, block * calls_at_once)


def test_the_gate_is_shut_and_opens():
    """Silence while it is shut; open, the run's callback; files on both sides."""
    gate = Gate(RATE, 1, 1, feed=0.1, heard=0.1)
    call = bound()
    out = np.ones(64, np.float32)
    for _ in range(3):
        assert call(None, out.ctypes.data, 64, None, 0, gate.address) == 0
    assert not out.any() and gate.samples == 0
    x = np.random.default_rng(0).normal(0, 0.1, (1000, 1)).astype(np.float32)
    with Block.create(rate=RATE, channels=1, stems=2, block=64, latency=100) as block:
        wakeup = Wakeup(block, create=True)
        assert gate.put(x) == 1000
        gate.end = 1100
        gate.open(block.address, 64)
        codes = [call(None, None, 64, None, 0, gate.address) for _ in range(18)]
        assert codes == [0] * 17 + [1] and gate.samples == 1100
        heard = gate.take()
        assert gate.shut() and gate.lost == 0
        wakeup.close()
        gate.close()
    # Nobody wrote stems: dry, late by the block's latency.
    assert heard.shape == (1100, 1)
    assert np.array_equal(heard[100:], x) and not heard[:100].any()


def test_the_gate_flags_more_than_was_agreed():
    gate = Gate(RATE, 1, 1)
    call, x = bound(), np.zeros(64, np.float32)
    with Block.create(rate=RATE, channels=1, stems=2, block=64, latency=0) as block:
        wakeup = Wakeup(block, create=True)
        gate.open(block.address, 128)
        for _ in range(4):
            call(x.ctypes.data, x.ctypes.data, 64, None, 0, gate.address)
        misses = block.i64[layout.MISSES : layout.MISSES + len(layout.CAUSES)]
        assert misses[layout.LATE] >= 1 and misses[layout.GROWN] >= 1 and misses.sum() == 4
        assert gate.most > 128
        gate.shut()
        gate.close()
        wakeup.close()


def test_the_governor(tmp_path):
    assert governor(tmp_path) is None
    for k, name in enumerate(["performance", "powersave"]):
        folder = tmp_path / f"cpu{k}" / "cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text(f"{name}\n")
    assert "powersave" in governor(tmp_path)


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="no such scheduler here")
def test_threads_that_have_ended_are_left_alone():
    assert hurry_threads([2**22 + 1], 10) is None


def without_portaudio(tmp_path, *arguments):
    """A system on which the loader does not find PortAudio."""
    (tmp_path / "sitecustomize.py").write_text(
        "import ctypes.util\n"
        "find = ctypes.util.find_library\n"
        "ctypes.util.find_library = lambda n: None if 'portaudio' in n else find(n)\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    return subprocess.run(
        [sys.executable, "-m", "rtsep", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )


def test_no_portaudio(tmp_path):
    """Named devices and the list of them say which package; a plain run plays the demo."""
    quarter = ["--factory", "quarter_model:build", "--duration", "0.2"]
    for arguments in (["devices"], ["run", *quarter, "--input", "USB"]):
        done = without_portaudio(tmp_path, *arguments)
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
        assert "PortAudio is missing: install libportaudio2" in done.stderr
    done = without_portaudio(tmp_path, "run", *quarter)
    assert (done.returncode, done.stderr) == (0, "")
    assert "PortAudio is missing" in done.stdout and "playing the demo" in done.stdout
    assert "simulated clock" in done.stdout
