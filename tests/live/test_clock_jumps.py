"""A device whose clock jumps: the worker leaves out what is lost, and the latency stays."""

import numpy as np
from live_device import Device
from live_runs import late
from quarter_model import Masks

from rtsep.live import layout as at
from rtsep.live.latency import rebuffer
from rtsep.live.worker import WARM_UP, Worker
from rtsep.pipeline import Pipeline

RATE, BLOCK = 48000, 64
FADE = RATE // 200


def play(x, burst):
    """x through callback and worker, which gets no turn while the device calls for `burst`."""
    pipeline = Pipeline(Masks(1, 64), RATE, 1)
    delay = pipeline.delay
    latency = rebuffer(pipeline.computable, delay, pipeline.period, BLOCK) + BLOCK + delay
    with Device(rate=RATE, channels=1, stems=2, block=BLOCK, latency=latency) as device:
        device.block.f64[at.SOLO] = 1
        device.block.settle()
        worker, out = Worker(pipeline, device.block), []
        for k in range(0, len(x), BLOCK):
            out.append(device.call(x[k : k + BLOCK]))
            while k not in burst and worker.advance():
                pass
        jumps = int(device.block.i64[at.JUMPS])
        return np.concatenate(out)[:, 0], latency, device.misses(), jumps


def tone(seconds):
    t = np.arange(int(seconds * RATE)) / RATE
    return (0.5 * np.sin(2 * np.pi * 220 * t))[:, None].astype(np.float32)


def test_forward():
    """Two seconds at once, as after a suspension: more than the rings hold, and not made up for."""
    x, burst = tone(4.0), range(RATE, 3 * RATE + RATE // 2)
    y, latency, misses, jumps = play(x, burst)
    dry = late(x, latency)[: len(x), 0]
    assert jumps == 1 and set(misses) == {"worker late", "worker jumped"}
    assert np.abs(y - 0.25 * dry)[2 * latency : RATE].max() < 1e-3
    during = slice(RATE + latency + FADE, burst.stop)
    assert np.array_equal(y[during], dry[during])
    again = burst.stop + int(WARM_UP * RATE) + latency + 2 * FADE
    assert np.abs(y - 0.25 * dry)[again:].max() < 1e-3
    # Dry and voice of one sign, and tails: nothing steps by more than those move.
    assert np.abs(np.diff(y)).max() < 2.5 * 0.5 * 2 * np.pi * 220 / RATE + 0.005


def test_a_little_is_caught_up_with():
    x, burst = tone(2.0), range(RATE, RATE + RATE // 4)
    y, latency, misses, jumps = play(x, burst)
    assert jumps == 0 and set(misses) == {"worker late"}
    after = burst.stop + 3 * BLOCK + FADE
    assert np.abs(y - 0.25 * late(x, latency)[: len(x), 0])[after:].max() < 1e-3
