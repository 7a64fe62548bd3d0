"""What protects ears: input gain, limiter, clips, the rise at the beginning."""

import numpy as np
import pytest
from live_device import Device

from rtsep.live import layout as at
from rtsep.live.ring import Ring

RATE, FADE = 48000, 240


def geometry(**changes):
    return {"rate": RATE, "channels": 1, "stems": 2, "block": 64, "latency": 0} | changes


def tone(seconds, amplitude, hz=200.0):
    t = np.arange(int(seconds * RATE)) / RATE
    return (amplitude * np.sin(2 * np.pi * hz * t))[:, None].astype(np.float32)


def play(device, x, before=lambda k: None):
    """x through the callback in blocks of 64; all of it is stem 0."""
    out = []
    for k in range(0, len(x), 64):
        part = x[k : k + 64]
        device.stems.write(np.concatenate([part, 0 * part], 1))
        before(k)
        out.append(device.call(part))
    return np.concatenate(out)


def test_up_to_full_scale_every_bit_stays():
    x = tone(0.3, 1.0)
    x[100], x[5000] = 1, -1
    with Device(**geometry()) as device:
        assert np.array_equal(play(device, x), x)
        h = device.block.i64
        assert h[at.LIMITED] == h[at.CLIPPED_OUT] == 0 and h[at.CLIPPED_IN] >= 2


@pytest.mark.parametrize("ceiling", [1.0, 0.5])
def test_limiter(ceiling):
    """A tone 12 dB too loud is turned down as a whole, from its second period on, and without a
    step; what comes 2 s later, and is not too loud, passes bit for bit."""
    x = np.concatenate([tone(0.5, 4 * ceiling), tone(2.0, 0.1), tone(0.2, ceiling)])
    with Device(**geometry()) as device:
        device.block.f64[at.CEILING] = ceiling
        y = play(device, x)
        assert device.block.i64[at.LIMITED] > 0 and device.block.i64[at.CLIPPED_OUT] == 0
    assert np.abs(y).max() == ceiling
    loud = slice(RATE // 200, RATE // 2)
    assert np.abs(y[loud] - x[loud] / 4).max() < 1e-3 * ceiling
    quickest = 4 * ceiling * 2 * np.pi * 200 / RATE
    assert np.abs(np.diff(y[:, 0])).max() <= quickest
    assert np.array_equal(y[-RATE // 5 :], x[-RATE // 5 :])
    # On the way back nothing pumps: the gain only rises.
    audible = (np.abs(x[:, 0]) > 0.05) & (np.arange(len(x)) > RATE // 2)
    gain = y[audible, 0] / x[audible, 0]
    assert (np.diff(gain) > -1e-5).all() and gain[0] < 0.3 and gain[-1] == 1


def test_outputs_that_play_something_else_are_left_alone():
    x = tone(0.3, 0.5)
    with Device(**geometry(outputs=4)) as device:
        h, f = device.block.i64, device.block.f64
        h[at.OUT_BUS : at.OUT_BUS + 4] = at.MIX, at.STEM, at.SILENT, at.MIX
        f[at.WET] = 0  # the mix is dry, the stem louder by far
        f[at.GAIN] = 8
        device.block.settle()
        y = play(device, x)
    assert np.array_equal(y[:, [0]], x) and np.array_equal(y[:, [3]], x)
    assert not y[:, 2].any()
    assert np.abs(y[:, 1]).max() == 1 and np.abs(y[4800:, 1] - 2 * x[4800:, 0]).max() < 2e-3


def test_no_limiter_counts_clips():
    x = tone(0.1, 0.5)
    with Device(**geometry()) as device:
        device.block.f64[at.CEILING] = np.inf
        device.block.f64[at.GAIN] = 4
        device.block.settle()
        y = play(device, x)
        assert np.array_equal(y, 4 * x)
        assert device.block.i64[at.CLIPPED_OUT] == (np.abs(y) > 1).sum() > 100
        assert device.block.i64[at.LIMITED] == 0


@pytest.mark.parametrize("gain", [np.inf, np.nan, 1e38])
def test_nothing_leaves_that_is_no_number(gain):
    x = tone(0.1, 100.0)
    for ceiling in (1.0, np.inf):
        with Device(**geometry()) as device:
            device.block.f64[[at.GAIN, at.CEILING]] = gain, ceiling
            device.block.settle()
            y = play(device, x)
            assert np.isfinite(y).all() and np.abs(y).max() <= ceiling


def test_input_gain():
    """It ramps, everything follows it, and clips are counted before it."""
    x = tone(0.3, 0.4)
    x[50], x[60], x[70] = 1, -1, 32767 / 32768

    def turn(k):
        if k == 4800:
            device.block.f64[at.INPUT_GAIN] = 2

    with Device(**geometry()) as device:
        y = play(device, x, turn)
        taken = Ring(device.block, at.CAPTURE).read(0, len(x))[1]
        assert device.block.i64[at.CLIPPED_IN] == 3
    assert np.array_equal(taken, y) and np.array_equal(y[:4800], x[:4800])
    assert np.array_equal(y[4800 + FADE :], 2 * x[4800 + FADE :])
    ratio = y[4801 : 4800 + FADE] / x[4801 : 4800 + FADE]
    assert (np.diff(ratio[:, 0]) > -1e-4).all() and np.abs(np.diff(ratio[:, 0])).max() < 0.005


def test_input_gain_beyond_all_numbers_is_silence():
    x = np.full((64, 1), 3e38, np.float32)
    with Device(**geometry()) as device:
        device.block.f64[at.INPUT_GAIN] = 10
        device.block.settle()
        assert not play(device, x).any() and device.block.i64[at.BAD_INPUT] == 64


def test_rises_at_the_beginning():
    x = np.full((RATE * 3 // 2, 1), 0.5, np.float32)
    with Device(**geometry(fade_up=RATE)) as device:
        y = play(device, x)
    assert y[0] == 0 and (np.diff(y[:, 0]) >= 0).all() and np.diff(y[:, 0]).max() < 1e-4
    assert np.isclose(y[RATE // 2], 0.25) and np.array_equal(y[RATE:], x[RATE:])


def test_notes_when_there_was_sound():
    x = np.zeros((640, 1), np.float32)
    x[100] = 1e-9
    with Device(**geometry()) as device:
        play(device, x)
        assert device.block.i64[at.LAST_SOUND] == 101
        device.call(64)
        assert device.block.i64[at.LAST_SOUND] == 101


def test_meters_fall():
    x = np.concatenate([tone(0.1, 0.5), np.zeros((RATE // 2, 1), np.float32)])
    with Device(**geometry()) as device:
        device.block.f64[at.GAIN] = 0.5
        device.block.settle()
        play(device, x[:4800])
        peaks = device.block.f64[[at.IN_PEAK, at.OUT_PEAK]].copy()
        play(device, x[4800:])
        fallen = device.block.f64[[at.IN_PEAK, at.OUT_PEAK]]
    assert np.allclose(peaks, [0.5, 0.25], rtol=0.06)
    assert np.allclose(20 * np.log10(fallen / peaks), -10, atol=0.1)


def test_rest_is_no_miss():
    """While the worker rests dry goes on, and nothing is counted."""
    x = tone(0.2, 0.4)
    with Device(**geometry()) as device:
        device.block.f64[at.SOLO + 1] = 1
        device.block.settle()
        out = []
        for k in range(0, len(x), 64):
            part = x[k : k + 64]
            rests = k >= 4800
            device.stems.write(part * [not rests, 0], at.IDLE if rests else at.VALID)
            out.append(device.call(part))
        y = np.concatenate(out)
        assert not device.misses()
    assert not y[:4800].any() and np.array_equal(y[4800 + FADE :], x[4800 + FADE :])
