"""The arithmetic of latency, against brute force."""

from fractions import Fraction
from math import gcd

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quarter_model import Masks

from rtsep.errors import WrongCall
from rtsep.live.latency import Latency, check_queue, default_queue, rebuffer
from rtsep.pipeline import Pipeline


@given(st.integers(1, 400), st.integers(1, 300), st.integers(0, 500))
def test_rebuffer_of_whole_chunks(chunk, block, delay):
    def computable(n):
        return max(0, n // chunk * chunk - delay)

    assert rebuffer(computable, delay, chunk, block) == chunk - gcd(block, chunk)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("block", [1, 64, 100, 480])
def test_rebuffer_is_enough_and_no_more(rate, block):
    """In two seconds of blocks nothing is ever later, and something is as late."""
    pipeline = Pipeline(Masks(1, 128), rate, 1)
    n = rebuffer(pipeline.computable, pipeline.delay, pipeline.period, block)
    delivered = np.arange(0, 2 * rate, block)
    late = [int(d) - pipeline.computable(int(d)) - pipeline.delay for d in delivered]
    assert max(late) == n


def test_table():
    latency = Latency(
        rate=44100,
        block=64,
        delivery=128,
        rebuffer=174,
        queue=320,
        resample=Fraction("87.6"),
        model=Fraction("176.4"),
        device_out=100,
    )
    assert (latency.internal, latency.total, latency.deadline) == (758, 858, 256)
    assert latency.as_json() == {
        "device_in": 0,
        "rebuffer": 174,
        "queue": 320,
        "resample": 87.6,
        "model": 176.4,
        "device_out": 100,
        "internal": 758,
        "total": 858,
    }
    assert all(isinstance(latency.as_json()[k], int) for k in ("internal", "total", "queue"))


@given(st.integers(1, 2048), st.integers(1, 4), st.integers(1, 2000))
def test_queue(block, calls, chunk):
    queue = default_queue(48000, block, block * calls, Fraction(chunk))
    assert check_queue(queue, block, block * calls) == queue
    assert queue - block < max(block * calls, chunk + 96) <= queue


@pytest.mark.parametrize("queue", [0, 63, 64, 130, -128])
def test_queue_refused(queue):
    with pytest.raises(WrongCall, match="at least 128"):
        check_queue(queue, 64, 128)
