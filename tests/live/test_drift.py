"""The loop between two clocks, in simulated time: no sound, only who calls when."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtsep.live import drift
from rtsep.live.drift import FRACTION, IN_FRAMES, RATIO, WHOLE, came_in, passed, steer
from rtsep.live.intake import reserve
from rtsep.machine import compiled

_STARVED, _JUMPS, _STEEPEST, _OFF, _WRONG, _LAST = range(6)


@compiled
def simulate(
    h, x, in_block, out_block, in_calls, out_calls, ppm, jitter, learnt, seconds, seed, found
):
    """Deliveries of some calls at once on both sides, each late by up to `jitter` s, never before
    the one that precedes it. Fills `found`."""
    np.random.seed(seed)
    in_rate, out_rate = h[drift.IN_RATE] * (1 + 1e-6 * ppm), h[drift.OUT_RATE]
    ins = outs = 0
    phase = 0.31 * in_block / in_rate
    next_in, next_out = jitter * np.random.random(), phase + jitter * np.random.random()
    ratio, heard = 0.0, False
    while outs / out_rate < seconds:
        if next_in <= next_out:
            for k in range(in_calls):
                came_in(h, np.int64(1e9 * next_in) + 10_000 * k + (1 << 50), in_block)
            ins += in_calls * in_block
            next_in = max(next_in + 1e-4, ins / in_rate + jitter * np.random.random())
            continue
        now, was_heard, heard = outs / out_rate, heard, outs / out_rate >= learnt
        # As seen from outside: how far the place lies behind what has come in by now.
        came = (now + phase) * in_rate
        for k in range(out_calls):
            began = np.int64(1e9 * next_out) + 10_000 * k + (1 << 50)
            step, jumped = steer(h, x, began, k * out_block, out_block, heard)
            if heard:
                newest = h[WHOLE] + np.int64(x[FRACTION] + (out_block - 1) * step)
                found[_STARVED] += newest >= h[IN_FRAMES]
                found[_JUMPS] += jumped
                if k == 0:
                    behind = (came - h[WHOLE] - x[FRACTION]) / h[drift.IN_RATE]
                    found[_OFF] = max(found[_OFF], abs(behind - x[drift.DELAY]) * out_rate)
                if was_heard:
                    steepness = abs(x[RATIO] - ratio) * out_rate / out_block
                    found[_STEEPEST] = max(found[_STEEPEST], 1e6 * steepness)
                if now >= 60:
                    found[_WRONG] = max(found[_WRONG], abs(1e6 * x[RATIO] - ppm))
            ratio = x[RATIO]
            passed(h, x, out_block, step)
        outs += out_calls * out_block
        next_out = max(next_out + 1e-4, outs / out_rate + phase + jitter * np.random.random())
    found[_LAST] = 1e6 * x[RATIO]


@dataclass
class Found:
    """`off`: samples from nominal at the most; `wrong`: ppm from the truth after a minute."""

    starved: float
    jumps: float
    steepest: float
    off: float
    wrong: float
    last: float


def simulated(ppm, jitter, seconds, rates=(48000, 48000), blocks=(128, 128), calls=(1, 1), seed=1):
    h = np.zeros(drift.END, np.int64)
    most = [calls[k] * blocks[k] for k in range(2)]
    drift.set_up(h, *rates)
    delay = (most[1] + reserve(most[0], *rates)) / rates[1]
    longest = max(most[k] / rates[k] for k in range(2))
    drift.settle(h, delay, longest)
    learnt = drift.followed(longest)
    found = np.zeros(6)
    simulate(h, h.view(np.float64), *blocks, *calls, ppm, jitter, learnt, seconds, seed, found)
    return Found(*found)


@pytest.mark.parametrize("ppm", [-300, 300])
@pytest.mark.parametrize("jitter", [0, 0.5e-3, 1.5e-3])
def test_an_hour(ppm, jitter):
    """Nothing missed or left out, within a block of nominal, slewing at most 20 ppm a second, and
    within 20 ppm of the truth after a minute and from then on."""
    found = simulated(ppm, jitter, 3600)
    assert found.starved == 0 and found.jumps == 0
    assert found.off < 128
    assert found.steepest <= 20.001
    assert found.wrong < 20 and abs(found.last - ppm) < 15


@settings(max_examples=25, deadline=None)
@given(
    ppm=st.integers(-300, 300),
    jitter=st.floats(0, 1e-3),
    rates=st.tuples(*[st.sampled_from([16000, 44100, 48000, 96000])] * 2),
    blocks=st.tuples(*[st.sampled_from([64, 100, 128, 441, 1024])] * 2),
    calls=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    seed=st.integers(0, 1000),
)
def test_any_two_hosts(ppm, jitter, rates, blocks, calls, seed):
    """Other rates on both sides, other blocks, several of them at once, callbacks that are late.

    Of deliveries that are a millisecond early or late, a slope over 20 s can't be known to 20 ppm
    where there are less than some thirty a second: its error grows with the root of their length.
    """
    found = simulated(ppm, jitter, 100, rates, blocks, calls, seed)
    assert found.starved == 0 and found.jumps == 0
    longest = max(blocks[k] * calls[k] / rates[k] for k in range(2))
    assert found.off < longest * rates[1]
    assert found.steepest <= 20.001
    assert found.wrong < 20 * max(1.0, (longest / 0.032) ** 0.5)


@pytest.mark.parametrize("blocks", [(64, 1024), (1024, 1024), (1024, 64)])
@pytest.mark.parametrize("calls", [(1, 1), (1, 2), (3, 3)])
def test_rare_deliveries_starve_nobody(blocks, calls):
    """The slope that is learnt before sound is heard has to do until it is known better."""
    for seed in range(20):
        found = simulated(300, 1e-3, 70, (16000, 16000), blocks, calls, seed)
        assert found.starved == 0 and found.jumps == 0
        assert found.off < 16000 * 3e-3


def test_a_slope_that_is_known_is_not_learnt_again():
    h = np.zeros(drift.END, np.int64)
    drift.set_up(h, 48000, 48000, slope=250e-6)
    drift.settle(h, 0.005, 0.003)
    found = np.zeros(6)
    simulate(h, h.view(np.float64), 128, 128, 1, 1, 250, 1e-4, 1.5, 4, 3, found)
    assert abs(found[_LAST] - 250) < 25 and found[_STARVED] == 0
