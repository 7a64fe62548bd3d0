"""Another model under way: no step at the seam, both models' own sound around it, one time line.

The clock waits for its stems, so that nothing here depends on how fast the machine is.
"""

import os
import signal
import sys
import time

import numpy as np
import pytest
from live_runs import Array, Collected, assert_sums_to_mix, go_on, late, recorded, run, wait_for

import rtsep
from rtsep.errors import Failure, WrongCall
from rtsep.live import succession
from rtsep.live.session import Options, Session

RATE, CROSS = 48000, 960
FREE = {"factory": "quarter_model:build", "paced": False}


class Leisurely(Array):
    """No faster than real time: so that a swap is over before the sound is."""

    def read(self, n):
        time.sleep(n / RATE)
        return super().read(n)


def noise(seconds=60):
    return np.random.default_rng(0).normal(0, 0.1, (seconds * RATE, 1)).astype(np.float32)


def tone(seconds=60):
    t = np.arange(seconds * RATE) / RATE
    return (0.5 * np.sin(2 * np.pi * 220 * t))[:, None].astype(np.float32)


class Swapped:
    """A run of x in which `meanwhile(session)` happens: what was heard, and the summary."""

    def __init__(self, x, options, meanwhile, misses=False):
        sink = Collected()
        with Session(Leisurely(x), sink, RATE, 1, options) as session:
            first = session.latency.internal
            session.start()
            go_on(session, 0.3)
            meanwhile(session)
            go_on(session, 0.3)
            self.latencies = (first, session.latency.internal)
            self.summary = session.finish()
        self.heard = sink.frames
        self.events = [event["event"] for event in self.summary["events"]]
        assert misses == bool(self.summary["misses"]["total"]) and not self.summary["errors"]


def to(**wanted):
    return lambda session: session.swap(**wanted).result(100)


def own(x, factory, heard, **options):
    """What a model gives of it from beginning to end, as long as `heard`."""
    y = run(x[: len(heard)], RATE, Options(**FREE | {"factory": factory} | options)).heard
    return y[: len(heard)]


def seam(heard, before, after):
    """(the last sample of the one, the first of the other), to float32's precision."""
    last = np.flatnonzero(np.abs(heard - before) > 2e-6)[0]
    first = np.flatnonzero(np.abs(heard - after) > 2e-6)[-1] + 1
    return last, first


def test_both_models_own_sound_around_a_cross_fade(tmp_path):
    x = noise()
    options = Options(solo=("voice",), record=tmp_path, **FREE)
    swapped = Swapped(x, options, to(factory="quarter_model:half"))
    before = own(x, "quarter_model:build", swapped.heard, solo=("voice",))
    after = own(x, "quarter_model:half", swapped.heard, solo=("voice",))
    last, first = seam(swapped.heard, before, after)
    assert 0.3 * RATE < last < first < len(x) and first - last <= CROSS
    # In between, every sample is a mean of both, with weights that go from one to the other.
    a, b, y = before[last:first], after[last:first], swapped.heard[last:first]
    weight = ((y - a) / np.where(np.abs(b - a) > 0.01, b - a, np.nan))[:, 0]
    there = np.isfinite(weight)
    assert np.abs(weight[there] - (np.arange(len(y))[there] + 0.5) / CROSS).max() < 5e-3
    assert swapped.summary["model"] == "half" and swapped.latencies[0] == swapped.latencies[1]
    # The recording goes on in the same files, on the same cross-fade.
    files = recorded(tmp_path)
    assert_sums_to_mix(files)
    assert np.array_equal(files["mix"], late(x, swapped.latencies[0])[: len(swapped.heard)])
    assert np.abs(files["voice"] - swapped.heard).max() < 2e-6


def test_no_step_at_the_seam():
    """A tone moves by 0.0144 a sample; the cross-fade adds a part of 960 of the difference."""
    x = tone()
    swapped = Swapped(x, Options(solo=("voice",), **FREE), to(factory="quarter_model:half"))
    step = 0.5 * 2 * np.pi * 220 / RATE
    assert np.abs(np.diff(swapped.heard[:, 0])).max() < 0.5 * step + 0.25 * 0.5 / CROSS + 1e-4


def test_another_chunk_of_the_same_model():
    x = noise()
    swapped = Swapped(x, Options(solo=("voice",), queue=1920, **FREE), to(chunk=128))
    assert swapped.summary["chunk"] == 128
    more = swapped.latencies[1] - swapped.latencies[0]
    after = own(x, "quarter_model:build", swapped.heard, solo=("voice",), queue=1920, chunk=128)
    assert more > 0 and np.abs(swapped.heard - after)[-RATE // 5 :].max() < 2e-6


def test_a_longer_latency_and_back(tmp_path):
    """Announced, dry for a moment, then late by more; back again, that stays."""
    x = tone()

    def there_and_back(session):
        session.swap(factory="quarter_model:long").result(100)
        go_on(session, 0.3)
        ends.append(session.clock.samples)
        session.swap(factory="quarter_model:build").result(100)

    ends = []
    swapped = Swapped(x, Options(solo=("voice",), **FREE), there_and_back)
    short, long = swapped.latencies[0], swapped.latencies[1]
    assert long > short and swapped.summary["latency"]["padding"] == long - short
    assert "longer" in swapped.events[0] and "long (test" in swapped.events[1]
    assert len(swapped.events) == 3
    heard, dry = swapped.heard, late(x, long)[: len(swapped.heard)]
    assert np.abs(heard - 0.25 * dry)[-RATE // 5 :].max() < 1e-3
    assert np.abs(heard - 0.5 * dry)[ends[0] - RATE // 5 : ends[0]].max() < 1e-3
    assert np.abs(heard - 0.25 * late(x, short)[: len(heard)])[1000 : RATE // 4].max() < 1e-3
    # Two tones that are apart in time are cross-faded: no step, stems gone or not.
    step = 0.5 * 2 * np.pi * 220 / RATE
    assert np.abs(np.diff(heard[:, 0])).max() < 2.5 * step + 2 * 0.5 * 0.75 * np.pi / 2 / 240


def test_controls_go_by_the_stems_names():
    x = tone()
    seen = {}

    def change(session):
        session.controls.gains["voice"] = 0.5
        session.controls.mutes["background"] = True
        session.swap(factory="quarter_model:trio").result(100)
        seen["stems"], seen["gains"] = session.stems, dict(session.controls.gains)
        session.controls.mutes["drums"] = session.controls.mutes["bass"] = True
        go_on(session, 0.3)
        seen["end"] = session.clock.samples
        session.swap(factory="quarter_model:build").result(100)
        seen["muted"] = session.controls.mutes["background"]

    swapped = Swapped(x, Options(**FREE), change)
    assert seen["stems"] == ("drums", "bass", "voice")
    assert seen["gains"] == {"drums": 1.0, "bass": 1.0, "voice": 0.5} and seen["muted"]
    heard, dry = swapped.heard, late(x, swapped.latencies[1])[: len(swapped.heard)]
    assert np.abs(heard - 0.5 * 0.5 * dry)[seen["end"] - RATE // 5 : seen["end"]].max() < 1e-3
    assert np.abs(heard - 0.5 * 0.25 * dry)[-RATE // 5 :].max() < 1e-3
    assert swapped.summary["levels_db"].keys() == {"voice", "background"}


def test_the_primary_stem_is_soloed_as_long_as_nobody_chooses():
    swapped = Swapped(tone(), Options(**FREE), to(factory="quarter_model:trio"))
    dry = late(tone(), swapped.latencies[1])[: len(swapped.heard)]
    assert np.abs(swapped.heard - 0.2 * dry)[-RATE // 5 :].max() < 1e-3  # drums


@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
@pytest.mark.parametrize("which", ["the one that is heard", "the one that is to follow"])
def test_a_worker_dies_meanwhile(which, tmp_path, monkeypatch):
    """The next one takes over all the same; or the last one goes on."""
    x = noise()
    monkeypatch.setattr("rtsep.live.swapping.FILL", 3600.0 if "follow" in which else 2.0)

    def strike(session):
        done = session.swap(factory="quarter_model:half")
        wait_for(lambda: session.workers._successor is not None)
        process = session.process if "heard" in which else session.workers._successor
        os.kill(process.pid, signal.SIGKILL)
        if "heard" in which:
            done.result(100)
        else:
            with pytest.raises(Failure, match="signal 9"):
                done.result(100)

    swapped = Swapped(x, Options(solo=("voice",), **FREE), strike, misses="heard" in which)
    model = "half" if "heard" in which else "build"
    after = own(x, f"quarter_model:{model}", swapped.heard, solo=("voice",))
    assert np.abs(swapped.heard - after)[-RATE // 5 :].max() < 2e-6
    assert swapped.summary["restarts"] == 0


def test_what_can_not_be_changed_to_is_refused(tmp_path, monkeypatch):
    """In one line each, and the run goes on as it was."""
    monkeypatch.setattr(succession, "_LATEST", 2.0)
    x = noise(100)
    options = Options(routes={"background": (0,)}, record=tmp_path, **FREE | {"paced": True})
    with Session(Array(x), Collected(), RATE, 1, options) as session:
        session.start()
        with pytest.raises(WrongCall, match="name a model"):
            session.swap()
        with pytest.raises(WrongCall, match="no such model"):
            session.swap("no such model")
        for factory, error in {
            "refusing": "no masks today",
            "trio": "an output plays background: trio has drums, bass, voice alone",
            "band": "is being recorded, with voice, background: band has voice, drums, background",
            "starved": "quarter is too slow here: it was never in time",
        }.items():
            done = session.swap(factory=f"quarter_model:{factory}")
            with pytest.raises(Failure, match="about to be heard already"):
                session.swap(factory="quarter_model:half")
            with pytest.raises(Failure, match=error):
                done.result(100)
            wait_for(lambda: not session.swaps.busy)
        summary = session.finish()
    assert summary["model"] == "quarter" and not summary["errors"]
    assert len(summary["events"]) == 4 and summary["restarts"] == 0


def test_more_stems_than_there_is_room_for():
    options = Options(**FREE | {"factory": "quarter_model:six", "paced": True})
    with Session(Array(noise()), Collected(), RATE, 1, options) as session:
        session.start()
        with pytest.raises(Failure, match="there is room for 8 stems"):
            session.swap(factory="quarter_model:trio").result(100)
        with pytest.raises(WrongCall, match="no model|no such|not a|there is"):
            session.swap("nowhere.safetensors")


def test_a_run_ends_while_a_model_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("MARK", str(tmp_path / "mark"))
    (tmp_path / "mark").touch()
    with Session(
        Array(noise()), Collected(), RATE, 1, Options(**FREE | {"paced": True})
    ) as session:
        session.start()
        done = session.swap(factory="quarter_model:slow_to_return")
        time.sleep(0.5)
        began = time.monotonic()
        session.finish()
        assert time.monotonic() - began < 20  # and not the factory's 30
        assert isinstance(done.exception(), Failure)


def test_from_python():
    live = rtsep.Live(input="none", output="none", duration=100, factory="quarter_model:build")
    with live:
        assert live.stems == ("voice", "background") and live.primary == "voice"
        live.swap(factory="quarter_model:trio")
        assert live.stems == ("drums", "bass", "voice") and live.primary == "drums"
        assert live.meters.keys() == {"input", "output", "drums", "bass", "voice"}
        with pytest.raises(Failure, match="no masks today"):
            live.swap(factory="quarter_model:refusing")
        wait_for(lambda: len(live.notices) == 2)
    assert live.notices[0].startswith("trio (test, chunks of 64) is heard in place of quarter (")
    assert "no masks today" in live.notices[1] and live.stats["model"] == "trio"
    with pytest.raises(Failure, match="no run"):
        live.swap(factory="quarter_model:build")
