"""The table of controls: one definition, in this process and from another one."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from live_desk import FACTS, STEMS, desk
from live_device import Device

import rtsep
from rtsep.errors import Failure, WrongCall
from rtsep.live import layout, runs
from rtsep.live.controls import Controls
from rtsep.live.description import DESCRIPTION_BYTES, describe, described
from rtsep.live.scene import Scene


def test_the_primary_stem_is_soloed_until_somebody_chooses():
    with desk() as (_, controls):
        assert controls.untouched and controls.heard == {"drums": 0, "bass": 0, "vocals": 1}
        controls.wet = 0.5
        assert controls.untouched
        controls.gains["bass"] = 0.25
        assert not controls.untouched and not any(controls.solos.values())
        assert controls.heard == {"drums": 1, "bass": 0.25, "vocals": 1}
        controls.recall(Scene())
        controls.solos["vocals"] = not controls.solos["vocals"]
        assert controls.heard == dict.fromkeys(STEMS, 1.0)
        controls.recall(Scene())
        controls.mutes["drums"] = False
        assert controls.heard == dict.fromkeys(STEMS, 1.0)
    with desk(routed=True) as (_, controls):
        controls.recall(Scene())
        assert not controls.untouched and controls.heard == dict.fromkeys(STEMS, 1.0)


def test_solos_add_up_and_mute_wins():
    with desk() as (_, controls):
        controls.solos["drums"] = True
        assert controls.heard == {"drums": 1, "bass": 0, "vocals": 0}
        controls.solos["bass"] = True
        controls.mutes["drums"] = True
        assert controls.heard == {"drums": 0, "bass": 1, "vocals": 0}
        controls.solos.update({"bass": False})
        assert not any(controls.heard.values())
        controls.solos["drums"] = False
        assert controls.heard == {"drums": 0, "bass": 1, "vocals": 1}


def test_what_cannot_be_changes_nothing():
    with desk() as (device, controls):
        before = device.block.i64.copy()
        for change, message in [
            (lambda: controls.gains.update({"piano": 1}), "no stem 'piano': there is drums, bass,"),
            (lambda: controls.gains.update({"bass": float("nan")}), "a gain of nan"),
            (lambda: controls.gains.update({"bass": "loud"}), "a gain of 'loud'"),
            (lambda: setattr(controls, "wet", 1.1), "a wet of 1.1; between 0 and 1"),
            (lambda: setattr(controls, "wet", None), "a wet of None"),
            (lambda: setattr(controls, "input_gain", 1e9), "at most 40 dB"),
            (lambda: controls.recall(Scene({"piano": 1})), "no stem 'piano': band has drums"),
            (lambda: controls.recall(Scene({"bass": 1}, wet=2)), "a wet of 2"),
        ]:
            with pytest.raises(WrongCall, match=message):
                change()
        assert np.array_equal(before, device.block.i64)


def test_scenes_come_back_as_they_were():
    with desk() as (_, controls):
        assert controls.scene == Scene()
        scene = Scene({"drums": 0.5, "bass": 1.0, "vocals": 2.0}, ("bass",), ("drums",), 0.25, True)
        controls.recall(scene)
        assert controls.scene == scene and controls.bypass and controls.wet == 0.25
        controls.recall(Scene(mutes=("drums",)))
        assert controls.heard == {"drums": 0, "bass": 1, "vocals": 1} and not controls.bypass


def test_bypass_is_the_input_bit_for_bit_and_ramped():
    """... at the latency that there is anyway, from the first block after the ramp on."""
    latency, x = 480, np.random.default_rng(0).normal(0, 0.1, 24000).astype(np.float32)
    x[12000:] = 0.5
    with Device(rate=48000, channels=1, stems=2, block=64, latency=latency) as device:
        describe(device.block, FACTS | {"stems": ("a", "b"), "primary": "a"})
        controls = Controls(device.block)
        controls.recall(Scene({"a": 0.0, "b": 0.25}))
        device.block.settle()
        out = []
        for k in range(0, len(x), 64):
            if k == 6400:
                controls.bypass = True
            if k == 16000:
                controls.bypass = False
            part = x[k : k + 64, None]
            out.append(device.call(part))
            device.stems.write(np.concatenate([0.25 * part, 0.75 * part], 1))
        y = np.concatenate(out)[:, 0]
    late = np.concatenate([np.zeros(latency, np.float32), x])[: len(y)]
    assert np.array_equal(y[6400 + 240 : 16000], late[6400 + 240 : 16000])
    assert not np.array_equal(y[6390:6400], late[6390:6400])
    # From 0.5 to 0.5 · (0.75 · 0.25) in 5 ms, from the block after the change on.
    steps = np.diff(y[15990:17000].astype(np.float64))
    assert np.allclose(steps[10 : 10 + 239], 0.5 * (0.1875 - 1) / 240, atol=1e-6)
    assert np.allclose(steps[10 + 240 :], 0, atol=1e-6)


def test_bypass_needs_no_stems():
    """... though without it a miss is silent; and there is no step on the way there and back."""
    x = np.full((9600, 1), 0.5, np.float32)
    silence = {"rate": 48000, "channels": 1, "stems": 3, "block": 64, "on_miss": layout.SILENCE}
    with Device(**silence, latency=0) as device:
        describe(device.block, FACTS)
        controls, out = Controls(device.block), []
        for k in range(0, len(x), 64):
            controls.bypass = 3200 <= k < 6400
            out.append(device.call(x[k : k + 64]))
        assert device.misses() == {"worker late": 150}
    y = np.concatenate(out)[:, 0]
    assert not y[3000:3200].any() and (y[3440:6400] == 0.5).all() and not y[6640:].any()
    assert np.abs(np.diff(y[240:])).max() < 1.01 * 0.5 / 240


def test_descriptions_are_whole():
    with desk() as (device, controls):
        assert controls.stems == STEMS and described(device.block)["stems"] == list(STEMS)
        describe(device.block, FACTS | {"stems": ("a", "b", "c")})
        assert controls.stems == ("a", "b", "c") and list(controls.gains) == ["a", "b", "c"]
        with pytest.raises(Failure, match="a run's description of"):
            describe(device.block, {"long": "x" * DESCRIPTION_BYTES})
        device.block.u8[8 * layout.DESCRIPTION + 9] ^= 1
        with pytest.raises(Failure, match="is damaged"):
            described(device.block)


OTHER = """
import json, sys
from rtsep.live.controls import Controls
from rtsep.live.runs import find
run = find()
controls = Controls.attach(run.block)
controls.solos["background"] = True
controls.gains["background"] = 0.5
controls.bypass = True
print(json.dumps([run.pid, run.model, controls.facts, "torch" in sys.modules]))
"""


def test_from_another_process():
    """It finds the run, knows its stems, and its choice is the first one for all."""
    factory = {"factory": "quarter_model:build", "input": "none", "output": "none"}
    live = rtsep.Live(**factory, duration=60)
    assert runs.runs() == []
    with live:
        assert live.controls.untouched and live.gains is live.controls.gains
        done = subprocess.run(
            [sys.executable, "-c", OTHER], capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, "")
        pid, model, facts, torch = json.loads(done.stdout)
        assert (pid, model, torch) == (os.getpid(), "quarter", False)
        assert facts["stems"] == ["voice", "background"] and facts["rate"] == live.rate
        assert facts["latency"]["internal"] == live.latency.internal
        assert live.controls.heard == {"voice": 0, "background": 0.5} and live.bypass
        live.gains["voice"] = 2
        assert live.controls.heard == {"voice": 0, "background": 0.5}
    with pytest.raises(WrongCall, match="a run: no such run; running: none"):
        runs.find()
    with pytest.raises(Failure, match="this run is over"):
        live.controls.heard  # noqa: B018


def test_what_a_killed_run_left_is_forgotten():
    runs.announce("psm_gone", "band")
    assert (runs.folder() / "psm_gone.json").exists()
    assert runs.runs() == [] and not (runs.folder() / "psm_gone.json").exists()
    with pytest.raises(Failure, match="there is no shared-memory block 'psm_gone'"):
        Controls.attach("psm_gone")
