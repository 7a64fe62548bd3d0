"""Recording on and off under way: each take whole, in a folder of its own, summing to the mix."""

import os
import threading

import numpy as np
import pytest
from live_device import Device
from live_runs import assert_sums_to_mix, late, recorded, run

import rtsep
from rtsep.errors import Failure, WrongCall
from rtsep.live import layout as at
from rtsep.live.session import Options
from rtsep.live.takes import Takes

RATE, LATENCY = 48000, 200
NAMES = ("voice", "background")


class Playing:
    """Sound through the real callback, stems missing now and then."""

    def __init__(self, seconds=2):
        draw = np.random.default_rng(0)
        self.x = draw.normal(0, 0.1, (int(seconds * RATE), 1)).astype(np.float32)
        self.device = Device(rate=RATE, channels=1, stems=2, block=64, latency=LATENCY)
        self.time = 0
        self._draw = draw

    def go(self, blocks):
        for _ in range(blocks):
            x = self.x[self.time : self.time + 64]
            flag = self._draw.choice([at.VALID, at.INVALID], p=[0.9, 0.1])
            self.device.stems.write(np.concatenate([x * 0.25, x - x * 0.25], 1), flag)
            self.device.call(x)
            self.time += 64

    def mix(self, start, end):
        """What `mix.wav` of a take between two clock times is."""
        return late(self.x, LATENCY)[start:end]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.device.__exit__()


@pytest.fixture
def playing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Playing() as playing:
        yield playing


def assert_take(folder, mix):
    files = recorded(folder)
    assert files.keys() == {*NAMES, "mix"}
    assert np.array_equal(files["mix"], mix)
    assert_sums_to_mix(files)


def test_takes_begin_and_end_under_way(playing, tmp_path):
    takes = Takes(playing.device.block, NAMES, "background")
    spans = []
    (tmp_path / "take-2").mkdir()  # somebody's: left alone
    for name, blocks in (("take-1", 100), ("take-3", 1), ("take-4", 333)):
        playing.go(37)
        start = playing.time
        assert takes.begin() == takes.folder and takes.folder.name == name
        with pytest.raises(Failure, match=f"recorded already, to {name}"):
            takes.begin()
        playing.go(blocks)
        assert takes.end().name == name and takes.folder is None
        spans.append((name, start, playing.time))
    assert takes.end() is None
    playing.go(10)
    takes.finish(playing.time)
    for name, start, end in spans:
        assert_take(tmp_path / name, playing.mix(start, end))
    assert not list((tmp_path / "take-2").iterdir())
    assert len(takes.files) == 9 and takes.lost == 0 and not takes.errors


def test_the_first_take_has_the_name_that_was_asked_for(playing, tmp_path):
    takes = Takes(playing.device.block, NAMES, "background", tmp_path / "song")
    takes.begin_first()
    playing.go(50)
    assert takes.end() == tmp_path / "song"
    playing.go(50)
    assert takes.begin() == tmp_path / "song-2"
    playing.go(50)
    takes.finish(playing.time)
    assert_take(tmp_path / "song", playing.mix(0, 3200))
    assert_take(tmp_path / "song-2", playing.mix(6400, 9600))


def test_a_take_that_can_not_be_written_is_refused_and_the_next_one_is_not(playing, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mix.wav").write_text("mine")
    takes = Takes(playing.device.block, NAMES, "background")
    with pytest.raises(Failure, match="can't record to"):
        takes.begin(tmp_path / "file")
    with pytest.raises(WrongCall, match="mix.wav is there already"):
        takes.begin(tmp_path / "full")
    assert takes.folder is None and takes.files == []
    takes.begin(tmp_path / "good")
    playing.go(20)
    takes.finish(playing.time)
    assert_take(tmp_path / "good", playing.mix(0, 1280))


def test_after_a_full_disk_the_next_take_goes_elsewhere(playing, tmp_path, monkeypatch):
    """The recording that failed is told; it does not stand in the way of another."""
    written, full = os.write, threading.Event()

    def write(file, data):
        if full.is_set():
            raise OSError(28, "No space left on device")
        return written(file, data)

    monkeypatch.setattr(os, "write", write)
    takes = Takes(playing.device.block, NAMES, "background")
    takes.begin("first")
    recorder = takes._recorders[0]
    full.set()
    playing.go(300)
    recorder._thread.join(20)
    [error] = takes.errors
    assert error.startswith("recording to first/") and error.endswith("No space left on device")
    assert takes.folder is None
    full.clear()
    begun = playing.time
    takes.begin("second")
    playing.go(100)
    takes.end()
    takes.finish(playing.time)
    assert_take(tmp_path / "second", playing.mix(begun, playing.time))


def test_a_session_records_a_take_under_way(tmp_path):
    """A real worker, as fast as it goes: takes are parts of what one recording would be."""
    x = np.random.default_rng(1).normal(0, 0.1, (RATE, 1)).astype(np.float32)
    options = Options(factory="quarter_model:build", paced=False, record=tmp_path / "whole")
    folders = []

    def meanwhile(session):
        session.takes.end()
        folders.append(session.takes.begin())

    r = run(x, RATE, options, meanwhile)
    first, second = recorded(tmp_path / "whole"), recorded(tmp_path / "whole-2")
    assert folders == [tmp_path / "whole-2"]
    assert set(r.summary["files"]) == set(map(str, tmp_path.rglob("*.wav")))
    mix = late(x, r.latency)
    if first:  # it may have been ended before its first sample
        assert np.array_equal(first["mix"], mix[: len(first["mix"])])
    if second:
        assert np.array_equal(second["mix"], mix[-len(second["mix"]) :])
        assert_sums_to_mix(second)
    assert len(first.get("mix", ())) + len(second.get("mix", ())) <= len(mix)


def test_live_records(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = {"factory": "quarter_model:build", "input": "demo", "output": "none"}
    with rtsep.Live(**x) as live:
        assert live.record() == (take := next(tmp_path.glob("take-1")).relative_to(tmp_path))
        assert not live.wait(0.5)
        assert live.stop_recording() == take
        assert live.stop_recording() is None
        live.record(tmp_path / "mine")
        with pytest.raises(Failure, match="recorded already"):
            live.record()
        assert not live.wait(0.3)
    stats = live.stats
    for folder in ("take-1", "mine"):
        files = recorded(tmp_path / folder)
        assert len(files["mix"]) > 1000
        assert_sums_to_mix(files)
    assert len(stats["files"]) == 6
    with pytest.raises(Failure, match="this run is over"):
        live.record()
