"""Recordings: whole at every moment, summing to the mixture, refused or ended in one line."""

import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import soundfile
from live_device import Device
from live_runs import assert_sums_to_mix, late, recorded, run
from quarter_model import Masks

from rtsep.errors import Failure, WrongCall
from rtsep.live import layout as at
from rtsep.live.recorder import Recorder
from rtsep.live.session import Options
from rtsep.live.wav import GrowingWav
from rtsep.pipeline import Pipeline

RATE = 48000


def noise(n, channels=1, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, (n, channels)).astype(np.float32)


def test_wav_is_whole_after_every_write(tmp_path):
    file, path, x = GrowingWav(tmp_path / "a.wav", 44100, 2), tmp_path / "a.wav", noise(1000, 2)
    for k in range(0, 1000, 100):
        sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
        assert rate == 44100 and np.array_equal(sound, x[:k])
        file.write(x[k : k + 100])
    with open(path, "ab") as torn:  # what a kill between sound and header leaves behind
        torn.write(bytes(123))
    assert np.array_equal(soundfile.read(path, dtype="float32")[0], x)
    file.cut(750)
    file.close()
    assert np.array_equal(soundfile.read(path, dtype="float32")[0], x[:750])
    assert path.stat().st_size == 58 + 750 * 8
    riff, data = (struct.unpack("<I", path.read_bytes()[k : k + 4])[0] for k in (4, 54))
    assert (riff, data) == (50 + 750 * 8, 750 * 8)


def test_wav_goes_on_in_parts(tmp_path):
    file, x = GrowingWav(tmp_path / "a.wav", 8000, 1, largest=58 + 4 * 300), noise(1000)
    for part in np.split(x, [120, 130, 700]):
        file.write(part)
    file.close()
    assert [p.name for p in file.paths] == ["a.wav", "a.2.wav", "a.3.wav", "a.4.wav"]
    whole = [soundfile.read(p, dtype="float32", always_2d=True)[0] for p in file.paths]
    assert [len(part) for part in whole] == [300, 300, 300, 100]
    assert np.array_equal(np.concatenate(whole), x)


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_bit_equal_to_the_pipeline(rate, channels, tmp_path):
    """What a free run records is what the pipeline gives offline, late by the latency."""
    x = noise(rate // 2 + 17, channels)
    options = Options(factory="quarter_model:build", paced=False, record=tmp_path)
    r = run(x, rate, options)
    pipeline = Pipeline(Masks(channels, 64), rate, channels)
    offline = np.concatenate([pipeline.process(x.T), pipeline.flush(len(x))], axis=2)
    for k, stem in enumerate(("voice", "background")):
        assert np.array_equal(r.files[stem], late(offline[k].T, r.latency))
    assert np.array_equal(r.files["mix"], late(x, r.latency))
    assert r.summary["recording_lost"] == 0
    assert sorted(r.summary["files"]) == sorted(str(f) for f in tmp_path.iterdir())


def test_every_pattern_of_misses_sums_to_the_mix(tmp_path):
    """Stems that are there for some blocks and not for others, through the real callback."""
    x = noise(RATE // 2, 2)
    stems = np.concatenate([x * 0.25, x - x * 0.25], 1).astype(np.float32)
    draw = np.random.default_rng(5)
    with Device(rate=RATE, channels=2, stems=2, block=64, latency=200) as device:
        recorder = Recorder(device.block, tmp_path, ("voice", "background"), "background")
        recorder.start()
        for k in range(0, len(x), 64):
            flag = draw.choice([at.VALID, at.INVALID], p=[0.8, 0.2])
            device.stems.write(stems[k : k + 64], flag)
            device.call(x[k : k + 64])
        recorder.finish(len(x))
        assert device.misses() and recorder.error is None
    files = recorded(tmp_path)
    assert np.array_equal(files["mix"], late(x, 200)[: len(x)])
    assert_sums_to_mix(files)
    voice = late(stems[:, :2], 200)[: len(x)]
    assert 0.1 < (files["voice"] == voice).mean() < 0.9
    # No sudden end: silence is only reached over a fade.
    assert np.abs(files["voice"]).max() < 1.5 * np.abs(stems[:, :2]).max()


def test_what_was_overwritten_is_counted_and_silent_in_all_files(tmp_path):
    with Device(rate=RATE, channels=1, stems=2, block=64, latency=0, seconds=0.05) as device:
        recorder = Recorder(device.block, tmp_path, ("voice", "background"), "background")
        x = np.ones((9600, 1), np.float32)  # more than the rings hold, before it starts
        for k in range(0, len(x), 64):
            device.stems.write(np.tile([[0.25, 0.75]], (64, 1)).astype(np.float32))
            device.call(x[k : k + 64])
        recorder.start()
        recorder.finish(len(x))
    files = recorded(tmp_path)
    assert {len(sound) for sound in files.values()} == {9600}
    assert 4096 <= recorder.lost < 9600
    assert not files["mix"][: recorder.lost].any() and files["mix"][-100:].all()
    assert_sums_to_mix(files)


def test_a_stall_is_silent_in_all_files_alike(tmp_path, monkeypatch):
    """A disk that hangs for longer than the rings hold, while stems come and go."""
    resume, hangs, written = threading.Event(), threading.Event(), os.write

    def write(file, data):
        if hangs.is_set():
            resume.wait(20)
        return written(file, data)

    x = 1 + noise(RATE, 2)  # never 0
    stems = np.concatenate([x * 0.25, x - x * 0.25], 1).astype(np.float32)
    with Device(rate=RATE, channels=2, stems=2, block=64, latency=200, seconds=0.3) as device:
        recorder = Recorder(device.block, tmp_path, ("voice", "background"), "background")
        monkeypatch.setattr(os, "write", write)
        recorder.start()
        for k in range(0, len(x), 64):
            if k == 64 * 100:
                until = time.monotonic() + 20
                while recorder.samples < 4800 and time.monotonic() < until:
                    time.sleep(0.01)
                hangs.set()
            device.stems.write(stems[k : k + 64], at.INVALID if k // 64 % 7 == 0 else at.VALID)
            device.call(x[k : k + 64])
        resume.set()
        recorder.finish(len(x))
    files = recorded(tmp_path)
    mix = files["mix"]
    assert {sound.shape for sound in files.values()} == {x.shape}
    silent = np.flatnonzero(~mix[200:].any(1)) + 200
    assert recorder.lost == len(silent) > RATE // 2 and (np.diff(silent) == 1).all()
    assert not any(sound[silent].any() for sound in files.values())
    there = np.setdiff1d(np.arange(len(x)), silent)
    assert np.array_equal(mix[there], late(x, 200)[there])
    assert_sums_to_mix(files)


def test_a_clock_that_can_wait_waits_for_the_disk(tmp_path, monkeypatch):
    """Faster than the disk, nothing is lost."""
    resume, written = threading.Event(), os.write
    x = noise(RATE)
    stems = np.concatenate([x * 0.25, x - x * 0.25], 1).astype(np.float32)
    with Device(rate=RATE, channels=1, stems=2, block=64, latency=0, seconds=0.3) as device:
        h, names = device.block.i64, ("voice", "background")
        h[at.PATIENCE] = 300
        recorder = Recorder(device.block, tmp_path, names, "background")
        monkeypatch.setattr(os, "write", lambda *a: resume.wait(20) and written(*a))
        recorder.start()
        half = h[at.CAPTURE + at.CAPACITY] // 2
        for k in range(0, len(x), 64):
            if k == half + 64:
                assert h[at.CALLBACK_MAX] > 250e6
                resume.set()
            device.stems.write(stems[k : k + 64])
            device.call(x[k : k + 64])
        recorder.finish(len(x))
        assert recorder.lost == 0 and h[at.RECORDED] == at.NOT_RECORDED
    files = recorded(tmp_path)
    assert np.array_equal(files["mix"], x) and np.array_equal(files["voice"], stems[:, :1])


def test_a_disk_that_hangs_is_not_waited_for(tmp_path, monkeypatch):
    resume, hangs, written = threading.Event(), threading.Event(), os.write

    def write(file, data):
        hangs.set()
        resume.wait(20)
        return written(file, data)

    with Device(rate=RATE, channels=1, stems=2, block=64, latency=0) as device:
        recorder = Recorder(device.block, tmp_path, ("voice", "background"), "background")
        monkeypatch.setattr(os, "write", write)
        recorder.start()
        for _ in range(200):
            device.call(np.ones((64, 1)))
        assert hangs.wait(20)
        began = time.monotonic()
        recorder.finish(0, seconds=0.2)
        assert time.monotonic() - began < 10
        resume.set()
        recorder.finish(64 * 200)
    files = recorded(tmp_path)
    assert files.keys() == {"voice", "background", "mix"}
    assert_sums_to_mix(files)


def test_refusals_leave_nothing(tmp_path):
    with Device(rate=RATE, channels=1, stems=2, block=64, latency=0) as device:
        names = ("voice", "background")
        (tmp_path / "background.wav").write_bytes(b"mine")
        with pytest.raises(WrongCall, match="background.wav is there already"):
            Recorder(device.block, tmp_path, names, "background")
        assert [f.name for f in tmp_path.iterdir()] == ["background.wav"]
        assert (tmp_path / "background.wav").read_bytes() == b"mine"
        with pytest.raises(Failure, match="can't record to .*: Not a directory"):
            Recorder(device.block, tmp_path / "background.wav" / "x", names, "background")
        with pytest.raises(WrongCall, match="can't be recorded"):
            Recorder(device.block, tmp_path, ("../voice", "mix"), "mix")
        recorder = Recorder(device.block, tmp_path, names, "background", overwrite=True)
        recorder.finish(0)
        assert recorder.samples == 0 and not list(tmp_path.iterdir())


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 200 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs is not permitted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_full_disk_ends_the_recording_and_not_the_run(small_disk):
    x = noise(RATE)
    options = Options(factory="quarter_model:build", paced=False, record=small_disk)
    r = run(x, RATE, options)
    assert r.heard.shape == (len(x) + r.latency, 1)
    [error] = r.summary["errors"]
    assert error.startswith("recording to ") and error.endswith("No space left on device")
    length = len(r.files["mix"])
    assert 10_000 < length < 20_000
    assert np.array_equal(r.files["mix"], late(x, r.latency)[:length])
    assert_sums_to_mix(r.files)


PLAY = """
import sys, numpy as np
from rtsep.live.feeds import Array
from rtsep.live.session import Options, Session
x = np.random.default_rng(0).normal(0, 0.1, (480000, 1)).astype(np.float32)
options = Options(factory="quarter_model:build", record=sys.argv[1])
session = Session(Array(x), None, 48000, 1, options)
session.start()
print(session.latency.internal, flush=True)
session.join()
"""


@pytest.mark.parametrize("after", [0.0, 0.73, 1.31])
def test_killed_at_any_moment(after, tmp_path):
    """What was recorded when the whole run is killed reads back, and sums up."""
    player = subprocess.Popen(
        [sys.executable, "-c", PLAY, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    latency = int(player.stdout.readline())
    time.sleep(after)
    os.kill(player.pid, signal.SIGKILL)
    player.wait()
    files = recorded(tmp_path)
    shortest = min(len(sound) for sound in files.values())
    assert shortest >= (after - 0.4) * RATE
    assert max(len(sound) for sound in files.values()) - shortest <= RATE // 10
    files = {name: sound[:shortest] for name, sound in files.items()}
    assert np.array_equal(files["mix"], late(noise(10 * RATE), latency)[:shortest])
    assert_sums_to_mix(files)
