"""The compiled callback, called through ctypes as a device would."""

import subprocess
import sys

import numpy as np
import pytest
from live_device import Device

from rtsep.live import layout as at
from rtsep.live.histogram import quantile
from rtsep.live.layout import BINS, CALLBACK_HISTOGRAM, VALID, Block
from rtsep.live.ring import Ring
from rtsep.machine import wait

RATE, LATENCY, FADE = 48000, 300, 240
SIZES = [64, 1, 128, 37, 64, 64, 200, 0, 3, 129, 64]


def geometry(**changes):
    plain = {"rate": RATE, "channels": 2, "stems": 2, "block": 256, "latency": LATENCY}
    return plain | changes


def cut(x, sizes=SIZES):
    """x in blocks of these sizes, over and over."""
    k, j = 0, 0
    while k < len(x):
        n = sizes[j % len(sizes)]
        yield k, x[k : k + n]
        k, j = k + n, j + 1


def late(x, n=LATENCY):
    return np.concatenate([np.zeros((n, *x.shape[1:]), x.dtype), x])[: len(x)]


def sound(seconds=0.5, channels=2, seed=1):
    return np.random.default_rng(seed).normal(0, 0.2, (int(seconds * RATE), channels)).astype("f4")


def split(x):
    """Stems (n, 2 · channels) of x: a quarter, and the rest."""
    quarter = (x * 0.25).astype(np.float32)
    return np.concatenate([quarter, x - quarter], 1)


def play(device, x, upto=lambda end: end, before=lambda device, k: None, sizes=SIZES):
    """Runs x through; the stems up to time `upto(clock)` are written before each call."""
    stems, out = split(x), []
    for k, part in cut(x, sizes):
        have, want = device.stems.written, min(upto(k), len(x))
        if want > have:
            device.stems.write(stems[have:want])
        before(device, k)
        out.append(device.call(part))
    return np.concatenate(out)


def test_no_gains_is_the_dry_sound_bit_for_bit():
    x = sound()
    with Device(**geometry()) as device:
        y = play(device, x)
        assert np.array_equal(y, late(x))
        assert not device.misses()
        assert device.code == 0
        assert device.block.i64[at.CALLBACKS] == len(list(cut(x)))
        status, frames, flags = Ring(device.block, at.CAPTURE).read(0, len(x))
        assert status == 0 and np.array_equal(frames, x) and (flags == VALID).all()
        assert (Ring(device.block, at.PLAYED).read(0, len(x))[2] == 1).all()


@pytest.mark.parametrize("sizes", [SIZES, [64], [256, 256, 1]])
def test_solo_is_the_stem(sizes):
    x = sound()
    with Device(**geometry()) as device:
        device.block.f64[at.SOLO] = 1
        device.block.settle()
        y = play(device, x, sizes=sizes)
        assert np.abs(y - 0.25 * late(x)).max() < 1e-7


def test_wakes_the_worker_once_per_block():
    with Device(**geometry()) as device:
        for _ in range(3):
            device.call(np.zeros((64, 2)))
        address, scratch = device.wakeup.address, np.zeros(2, np.int64)
        assert [wait(address, 10_000_000, scratch) for _ in range(4)] == [True] * 3 + [False]


@pytest.mark.parametrize("control", ["gain", "mute", "solo", "wet", "bypass"])
def test_controls_ramp(control):
    """A change is heard within a block and 5 ms, and at no sample faster than the ramp allows."""
    x = np.ones((RATE // 4, 2), np.float32)
    expected = {"gain": 0.875, "mute": 0.75, "solo": 0.25, "wet": 1 - 0.5 * 0.25, "bypass": 1.0}

    def change(device, k):
        f = device.block.f64
        if k < RATE // 8:
            f[at.MUTE] = 1 if control in ("wet", "bypass") else 0
        elif control == "gain":
            f[at.GAIN] = 0.5
        elif control == "wet":
            f[at.WET] = 0.5
        else:
            f[{"mute": at.MUTE, "solo": at.SOLO, "bypass": at.BYPASS}[control]] = 1

    with Device(**geometry()) as device:
        y = play(device, x, before=change)[LATENCY + 2 * FADE :, 0]
    start = y[RATE // 8 - LATENCY - 3 * FADE]
    assert np.abs(np.diff(y)).max() <= abs(expected[control] - start) / FADE + 1e-6
    changed = np.flatnonzero(np.abs(y - start) > 1e-6)[0]
    assert changed + LATENCY + 2 * FADE < RATE // 8 + max(SIZES)
    assert np.allclose(y[changed + FADE :], expected[control], atol=1e-6)


def test_presets_of_several_solos_and_mute_wins():
    x = np.ones((4800, 2), np.float32)
    with Device(**geometry()) as device:
        f = device.block.f64
        f[at.SOLO], f[at.SOLO + 1], f[at.MUTE + 1] = 1, 1, 1
        device.block.settle()
        assert np.allclose(play(device, x)[LATENCY:], 0.25)


@pytest.mark.parametrize("on_miss", [at.DRY, at.SILENCE])
def test_a_miss_is_a_fade(on_miss):
    """A tone whose stems stop and return: no step beyond what tone and fade make, and aligned."""
    t = np.arange(RATE) / RATE
    # Half of full scale: dry and a tail together stay below the limiter's ceiling.
    x = np.stack([0.5 * np.sin(2 * np.pi * 200 * t)] * 2, 1).astype(np.float32)
    gap = range(RATE // 4, RATE // 2)

    with Device(**geometry(on_miss=on_miss)) as device:
        device.block.f64[at.SOLO] = 1
        device.block.settle()
        y = play(device, x, upto=lambda k: k if k not in gap else gap.start)
        played = Ring(device.block, at.PLAYED).read(0, len(x))[2]
        assert device.misses() == {"worker late": device.block.i64[at.MISSES + at.LATE]}
    missing = np.flatnonzero(played == 0)
    first, last = missing[0], missing[-1]
    assert gap.start <= first <= gap.start + LATENCY and last >= gap.stop - 256
    # The tone moves by 0.013 a sample, backwards too, and a half-cosine over 240 by 0.0033.
    assert np.abs(np.diff(y, axis=0)).max() < (1 + 0.75) * 0.0131 + 0.75 * 0.0033
    during = slice(first + FADE, last)
    assert np.array_equal(y[during], late(x)[during] * (on_miss == at.DRY))
    for there in (slice(0, first), slice(last + 1 + FADE, None)):
        assert np.abs(y[there] - 0.25 * late(x)[there]).max() < 1e-6


def test_flicker_makes_no_step():
    """Stems that come and go faster than the fades last."""
    x = np.ones((RATE // 2, 2), np.float32)
    stems = split(x)
    with Device(**geometry()) as device:
        device.block.f64[at.SOLO] = 1
        device.block.settle()
        out = []
        for k, part in cut(x, [64]):
            flag = VALID if (k // 64) % 3 else at.INVALID
            device.stems.write(stems[k : k + len(part)], flag)
            out.append(device.call(part))
        assert set(device.misses()) == {"invalid sound"}
    y = np.concatenate(out)[LATENCY + 64 :]
    assert np.abs(np.diff(y, axis=0)).max() < 2 * 0.75 * np.pi / 2 / FADE


def test_causes():
    x = np.zeros((64, 2))
    with Device(**geometry(latency=0)) as device:
        h = device.block.i64
        device.call(x)
        device.call(x, flags=4)
        device.call(np.zeros((400, 2)))
        device.stems.skip(592, at.JUMPED)
        device.call(x)
        h[at.WORKER] = at.DEAD
        device.call(x)
        assert device.misses() == {
            "worker late": 1,
            "device xrun": 1,
            "delivery grown": 1,
            "worker jumped": 1,
            "worker dead": 1,
        }
        assert h[at.XRUNS] == 1 and h[at.LAST_MISS] == 592


def test_bad_input_is_silence_and_counted():
    x = sound(0.1)
    x[1000, 0], x[1001, 1], x[1002, 1] = np.nan, np.inf, -np.inf
    clean = np.where(np.isfinite(x), x, 0)
    with Device(**geometry()) as device:
        y = np.concatenate([device.call(part) for _, part in cut(x)])
        assert np.array_equal(y, late(clean)) and device.block.i64[at.BAD_INPUT] == 3


def test_channels_and_routes():
    """Two of four inputs; mono mix twice, one stem alone, and a silent channel."""
    x = sound(0.2, channels=4)
    with Device(**geometry(channels=2, inputs=4, outputs=4)) as device:
        h, f = device.block.i64, device.block.f64
        h[at.IN_CHANNEL : at.IN_CHANNEL + 2] = 3, 1
        h[at.OUT_BUS : at.OUT_BUS + 4] = at.MIX, at.STEM + 1, at.SILENT, at.STEM
        h[at.OUT_CHANNEL : at.OUT_CHANNEL + 4] = 0, 1, 0, 0
        f[at.GAIN + 1] = 0.5
        device.block.settle()
        taken, out = x[:, [3, 1]], []
        stems = split(taken)
        for k, part in cut(x, [64]):
            device.stems.write(stems[k : k + 64])
            out.append(device.call(part))
    y, s = np.concatenate(out), late(stems)
    assert np.allclose(y[:, 0], s[:, 0] + 0.5 * s[:, 2], atol=1e-6)
    assert np.allclose(y[:, 1], 0.5 * s[:, 3], atol=1e-7)
    assert not y[:, 2].any() and np.array_equal(y[:, 3], s[:, 0])


def test_another_stem_ring_fades_over():
    x = np.ones((RATE // 4, 2), np.float32)
    with Device(**geometry()) as device:
        other = Ring(device.block, at.STEMS_B)
        device.block.f64[at.SOLO] = 1
        device.block.settle()
        out = []
        for k, part in cut(x, [64]):
            device.stems.write(split(part))
            other.write(split(part)[:, [2, 3, 0, 1]])
            device.block.i64[at.ACTIVE] = int(k > RATE // 8)
            out.append(device.call(part))
        played = Ring(device.block, at.PLAYED).read(0, len(x))[2]
        assert sorted(set(played)) == [1, 2, 4] and not device.misses()
    y = np.concatenate(out)[LATENCY:, 0]
    assert np.isclose(y[1000], 0.25) and np.isclose(y[-1], 0.75)
    assert np.abs(np.diff(y)).max() < 0.01


def test_no_input_no_output_and_finish():
    with Device(**geometry()) as device:
        assert not device.call(64).any()
        call, address = device._call, device.block.address
        assert call(None, None, 64, None, 0, address) == 0
        device.block.i64[at.FINISH] = 1
        assert call(None, None, 64, None, 0, address) == 1
        assert Ring(device.block, at.CAPTURE).written == 192


def test_patience():
    """On a clock that can wait the callback waits for its stems, but not for a dead worker."""
    with Device(**geometry(latency=0)) as device:
        h = device.block.i64
        h[at.PATIENCE] = 30
        device.call(np.zeros((64, 2)))
        assert h[at.CALLBACK_MAX] > 25e6 and device.misses() == {"worker late": 1}
        h[at.CALLBACK_MAX], h[at.WORKER], h[at.PATIENCE] = 0, at.DEAD, 60_000
        device.call(np.zeros((64, 2)))
        assert h[at.CALLBACK_MAX] < 5e9


def test_costs_little():
    """Half of all callbacks take well under 5 % of a block of 64 samples at 48 kHz (67 µs)."""
    x = sound(2.0)
    with Device(**geometry()) as device:
        device.block.f64[at.SOLO] = 1
        play(device, x, sizes=[64])
        counts = device.block.i64[CALLBACK_HISTOGRAM : CALLBACK_HISTOGRAM + BINS]
        assert quantile(counts, 0.5) < 67e3


def test_loads_without_torch_and_from_the_cache():
    """In a second process nothing has to be compiled: the import takes a second or so."""
    code = (
        "import sys, time; t = time.process_time(); from rtsep.live.callback import bound; bound();"
        "print('torch' in sys.modules, time.process_time() - t)"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True) for _ in range(2)]
    torch, seconds = runs[1].stdout.split()
    assert torch == b"False" and float(seconds) < 3


def test_block_is_removed():
    with Device(**geometry()) as device:
        name = device.block.name
    with pytest.raises(Exception, match=name):
        Block.attach(name)
