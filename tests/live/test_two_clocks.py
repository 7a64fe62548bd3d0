"""Input and output on clocks of their own, with real streams: a microphone and a loudspeaker on a
JACK server, opened as two streams."""

import numpy as np
import pytest
from jack_card import WHY_NOT, needs_jack
from live_runs import assert_sums_to_mix

from rtsep.live.options import Options

if WHY_NOT is None:
    from jack_runs import play

pytestmark = needs_jack
RATE = 48000


def tone(seconds=2.0, hertz=997.0):
    return (0.25 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype("f4")


def options(**changes):
    plain = {"factory": "quarter_model:build", "routes": {"mix": (0,)}, "fade_up": 0.0}
    return Options(**plain | changes)


@pytest.mark.parametrize("period", [128, 1024])
def test_late_by_the_table(period, tmp_path):
    """Two streams that have the same clock in truth: what comes out is what goes in, late by the
    table to within a block, and early by what the server lost, which is counted; and the
    recording's files sum to that sound."""
    x = np.random.default_rng(4).normal(0, 0.02, (int(1.5 * RATE), 1)).astype(np.float32)
    x[30000:40000] = 0
    x[33333] = 0.75
    played = play(
        period, x, options(record=tmp_path), apart=True, ends={"clocks": "two", "duration": 2.0}
    )
    two = played.summary["device"]["two_clocks"]
    assert two["input_rate"] == RATE and abs(two["difference_ppm"]) < 200
    parts = played.latency.parts()
    assert list(parts)[:2] == ["device_in", "clocks"]
    assert period < parts["clocks"] <= 2 * period + 100 + 16
    late = np.abs(played.heard[30000 + played.latency.total :, 0]).argmax() + 30000 - 33333
    if not two["starved"] and not two["jumps"]:
        assert abs(late) <= period * (1 + played.summary["xruns"])
    assert_sums_to_mix(played.files)
