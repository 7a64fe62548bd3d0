"""Resting in silence: nothing is stepped, nothing is missed, and sound comes back as it should."""

import numpy as np
import pytest
from live_device import Device
from live_runs import assert_sums_to_mix, late, run
from quarter_model import Masks

from rtsep.live import layout as at
from rtsep.live.latency import Latency, rebuffer
from rtsep.live.options import Options
from rtsep.live.worker import Worker
from rtsep.pipeline import Pipeline

RATE = 48000
IDLE = 0.3


def with_pauses(*seconds, rate=RATE, hush=0.0):
    """A tone, silence, a tone ... of these lengths, (samples, 1)."""
    parts = []
    for k, s in enumerate(seconds):
        t = np.arange(int(s * rate)) / rate
        parts.append(0.2 * np.sin(2 * np.pi * 220 * t) if k % 2 == 0 else np.full(len(t), hush))
    return np.concatenate(parts)[:, None].astype(np.float32)


def test_rests_and_returns(tmp_path):
    """A whole run: half of it is silence, and little of that is stepped through."""
    x = with_pauses(0.5, 1.5, 0.5, hush=1e-4)
    options = Options(
        factory="quarter_model:build", paced=False, solo=("voice",), idle=IDLE, record=tmp_path
    )
    r = run(x, RATE, options)
    assert r.summary["misses"]["total"] == 0
    assert r.summary["idle_s"] == pytest.approx(1.5 - IDLE, abs=0.02)
    assert r.summary["steps"] < (len(x) / RATE - 1.1) / 0.004
    expected = 0.25 * late(x, r.latency)
    wrong = np.flatnonzero(np.abs(r.heard - expected).max(1) > 2e-3)
    # Only where sound returns: up to a block of it is heard dry, and 5 ms fade over.
    assert len(wrong) and np.ptp(wrong) < 64 + RATE // 200
    assert 0 <= wrong[0] - (2.0 * RATE + r.latency) <= 64
    assert np.array_equal(r.files["mix"], late(x, r.latency))
    assert_sums_to_mix(r.files)


def test_off_by_default():
    x = with_pauses(0.2, 0.8)
    r = run(x, RATE, Options(factory="quarter_model:build", paced=False))
    assert r.summary["idle_s"] == 0 and r.summary["steps"] > 240


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
@pytest.mark.parametrize("sizes", [[64], [100], [1, 37, 128]], ids=["64", "100", "varying"])
def test_the_latency_holds_after_rests(rate, sizes):
    """The slowest worker that meets its deadline, resting wherever it can, misses nothing."""
    pipeline = Pipeline(Masks(1, 64), rate, 1)
    largest, unit = max(sizes), sizes[0] if len(sizes) == 1 else 1
    latency = Latency(
        rate=rate,
        block=largest,
        delivery=largest,
        rebuffer=rebuffer(pipeline.computable, pipeline.delay, pipeline.period, unit),
        queue=largest,
        resample=pipeline.delay - pipeline.parts["model"],
        model=pipeline.parts["model"],
    )
    x = with_pauses(0.05, 0.1, 0.0211, 0.0717, 0.05, 0.1, 0.0333, rate=rate)
    with Device(rate=rate, channels=1, stems=2, block=largest, latency=latency.internal) as device:
        device.block.i64[at.IDLE_AFTER] = rate // 100
        worker = Worker(pipeline, device.block)
        k, turn = 0, 0
        while k < len(x):
            n = sizes[turn % len(sizes)]
            device.call(x[k : k + n])
            k, turn = k + n, turn + 1
            while worker.advance():
                pass
        assert not device.misses() and device.block.i64[at.IDLED] > 0.1 * rate
