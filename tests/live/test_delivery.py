"""The latency arithmetic holds for what hosts do: bursts, and blocks of varying size.

The worker runs in this process, and does all it can between two deliveries and nothing during one:
the slowest that still meets its deadline.
"""

from fractions import Fraction

import numpy as np
import pytest
from live_device import Device
from quarter_model import Masks

from rtsep.live.latency import Latency, rebuffer
from rtsep.live.worker import Worker
from rtsep.pipeline import Pipeline


def deliver(rate, deliveries, unit, queue, chunk=64):
    """Plays half a second; the misses, and the latency that was assumed."""
    pipeline = Pipeline(Masks(1, chunk), rate, 1)
    block = max(max(d) for d in deliveries)
    latency = Latency(
        rate=rate,
        block=block,
        delivery=max(sum(d) for d in deliveries),
        rebuffer=rebuffer(pipeline.computable, pipeline.delay, pipeline.period, unit),
        queue=queue,
        resample=pipeline.delay - pipeline.parts["model"],
        model=pipeline.parts["model"],
    )
    x = np.random.default_rng(0).normal(0, 0.1, (rate // 2, 1)).astype(np.float32)
    with Device(rate=rate, channels=1, stems=2, block=block, latency=latency.internal) as device:
        worker = Worker(pipeline, device.block)
        k, turn = 0, 0
        while k < len(x):
            for n in deliveries[turn % len(deliveries)]:
                device.call(x[k : k + n])
                k += n
            turn += 1
            while worker.advance():
                pass
        return device.misses(), latency


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
@pytest.mark.parametrize(
    "deliveries, unit",
    [
        ([(64,)], 64),
        ([(100,)], 100),
        ([(64, 64)], 64),
        ([(128, 128, 128)], 128),
        ([(1,), (37,), (128,), (64, 3)], 1),
    ],
    ids=["single", "odd", "twice", "thrice", "varying"],
)
def test_a_queue_of_one_delivery_is_just_enough(rate, deliveries, unit):
    largest = max(sum(d) for d in deliveries)
    misses, latency = deliver(rate, deliveries, unit, queue=largest)
    assert not misses and latency.deadline == largest


def test_no_part_of_the_latency_is_superfluous():
    """One sample less than the table says, and stems come too late."""
    misses, latency = deliver(48000, [(64, 64)], 64, queue=128)
    assert not misses
    misses, _ = deliver(48000, [(64, 64)], 64, queue=127)
    assert misses
    assert isinstance(latency.model, Fraction)
