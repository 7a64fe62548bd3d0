"""The way from an input to an output that has another clock, with sound and in simulated time."""

import numpy as np
from numba import carray

from rtsep.live.fade import PRESENT
from rtsep.live.intake import FADE_STATE, Intake, latency, pull, reserve, take
from rtsep.machine import compiled, pointer_to

RATE, HERTZ = 48000, 997.0


@compiled
def _play(address, x, sound, blocks, in_rate, jitter, gap, warm, y, flags):
    """x (samples, channels) comes in at `in_rate`, but for the time `gap`; y goes out, from the
    time `warm` on. Each call is late by up to `jitter` s."""
    np.random.seed(3)
    ins = outs = 0
    next_in, next_out = 0.0, 1e-4
    while outs + blocks[1] <= len(y):
        if next_in <= next_out and ins + blocks[0] <= len(x):
            lost = gap[0] <= ins / in_rate < gap[1]
            if not lost:
                take(address, x[ins : ins + blocks[0]], np.int64(1e9 * next_in) + (1 << 50), 0)
            ins += blocks[0]
            next_in = max(next_in + 1e-5, ins / in_rate + jitter * np.random.random())
            continue
        now = outs / RATE
        n = blocks[1]
        began = np.int64(1e9 * next_out) + (1 << 50)
        at, flag = pull(address, began, 0, n, now >= warm)
        flags[outs // n] = flag
        if now >= warm:
            y[outs : outs + n] = carray(pointer_to(at), (n, y.shape[1]), np.float32)
        outs += n
        next_out = max(next_out + 1e-5, outs / RATE + 1e-4 + jitter * np.random.random())


def played(ppm, jitter=0.0, gap=(-1.0, -1.0), seconds=8.0, blocks=(128, 128)):
    """(The intake, its latency, y (samples, 2), flags by call) for a tone on two channels."""
    in_rate = RATE * (1 + 1e-6 * ppm)
    t = np.arange(int((seconds + 1) * RATE)) / in_rate
    x = 0.5 * np.sin(2 * np.pi * HERTZ * t)[:, None] * np.array([1, -0.5])
    intake = Intake(2, RATE, RATE)
    late = latency(blocks[1], reserve(blocks[0], RATE, RATE), RATE, RATE)
    intake.settle(late, max(blocks) / RATE)
    y = np.zeros((int(seconds * RATE) // blocks[1] * blocks[1], 2), np.float32)
    flags = np.zeros(len(y) // blocks[1], np.int64)
    _play(
        intake.address, x.astype(np.float32), 0, np.array(blocks), in_rate, jitter,
        np.array(gap), 1.5, y, flags,
    )  # fmt: skip
    return intake, late, y, flags


def lag(y, begin, late):
    """(Samples beyond `late` by which the tone in 20 ms from `begin` on is late, its residue)."""
    part = slice(int(begin * RATE), int((begin + 0.02) * RATE))
    t = np.arange(part.start, part.stop) - late
    basis = np.exp(2j * np.pi * HERTZ / RATE * t)
    a = np.stack([basis.real, basis.imag], 1)
    fit, *_ = np.linalg.lstsq(a, y[part, 0].astype(np.float64), rcond=None)
    residue = y[part, 0] - a @ fit
    # 0.5 sin(w (t - d)) = 0.5 cos(w d) sin(w t) - 0.5 sin(w d) cos(w t)
    phase = np.arctan2(-fit[0], fit[1])
    return phase / (2 * np.pi * HERTZ / RATE), 20 * np.log10(np.abs(residue).max() / 0.5)


def test_a_tone_is_late_by_the_latency_and_clean():
    """At the most that crystals differ, and with callbacks that are late by up to half a ms."""
    for ppm, jitter, most, clean in ((300, 0, 0.5, -75), (-300, 0, 0.5, -75), (200, 5e-4, 16, -40)):
        intake, late, y, flags = played(ppm, jitter)
        assert intake.starved == intake.jumps == 0 and not flags.any()
        assert not y[: int(1.5 * RATE)].any()
        for begin in (2.0, 4.0, 7.5):
            beyond, residue = lag(y, begin, late)
            # The calls of the output come 0.1 ms after those of the input.
            assert abs(beyond + 1e-4 * RATE) < most and residue < clean
        assert np.allclose(y[:, 1], -0.5 * y[:, 0], atol=1e-6)
        assert abs(1e6 * intake.difference - ppm) < 25


def test_a_loss_is_silence_without_a_step_and_then_aligned():
    """Input that is lost for 0.4 s: it fades, it is flagged once, and returns at its own time."""
    intake, late, y, flags = played(100, gap=(3.0, 3.4))
    assert intake.starved > 0 and intake.jumps == 1
    assert 1 <= np.count_nonzero(flags) <= 3
    step = 2 * np.pi * HERTZ / RATE * 0.5 + np.pi / 2 / 240 * 0.5
    assert np.abs(np.diff(y[int(1.6 * RATE) :, 0])).max() < 2 * step
    assert not y[int(3.1 * RATE) : int(3.35 * RATE)].any()
    beyond, residue = lag(y, 5.0, late)
    assert abs(beyond + 1e-4 * RATE) < 0.5 and residue < -60
    assert intake._h[FADE_STATE + PRESENT]


def test_nothing_at_all_comes_in():
    intake = Intake(1, 44100, RATE)
    intake.settle(300, 0.003)
    for k in range(5):
        at, flags = pull(intake.address, (1 << 50) + k * 1_000_000, 0, 48, True)
        assert flags == 0 and at > intake.address
    assert intake.starved == 5
