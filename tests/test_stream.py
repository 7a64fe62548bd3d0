"""Blocks of any size in, blocks of the same size out, always equally late."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_separator import sound

import rtsep
from rtsep.errors import WrongCall


@pytest.fixture
def path(small_path):
    return small_path


def run(stream, x, sizes):
    """All of `x` in blocks of the given sizes; the outputs, joined."""
    parts, n = [], 0
    for size in sizes:
        block = x[:, n : n + size]
        parts.append(stream.push(block))
        assert all(stem.shape == block.shape for stem in parts[-1].values())
        n += size
    return {stem: np.concatenate([p[stem] for p in parts], axis=1) for stem in stream.stems}


@pytest.fixture(scope="module", params=[(16_000, 1), (44_100, 2), (48_000, 1)])
def stream(request, small_path):
    with rtsep.Stream(small_path, *request.param) as stream:
        yield stream


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_it_is_what_separate_gives_late_by_the_latency(stream, small_path, data):
    sizes = data.draw(st.lists(st.integers(0, 3000), min_size=1, max_size=8))
    x = sound(stream.channels, sum(sizes) + stream.latency, stream.rate)
    sizes.append(stream.latency)
    stream.reset()
    got = run(stream, x, sizes)
    length = x.shape[1] - stream.latency
    # The engine is causal: what follows does not change what comes out before.
    offline = rtsep.separate(x, stream.rate, small_path)
    for stem in stream.stems:
        assert not got[stem][:, : stream.latency].any()
        assert np.array_equal(got[stem][:, stream.latency :], offline[stem][:, :length])


def test_the_latency_is_the_least_possible(path):
    """The model's, the filter's, and the chunk less the sample that completes it."""
    with rtsep.Stream(path, 16_000) as stream:
        assert stream.latency == 64 + 63
    with rtsep.Stream(path, 16_000, engine="eager", chunk=128) as stream:
        assert stream.latency == 64 + 127
    with rtsep.Stream(path, 48_000) as stream:
        assert stream.latency == 3 * (64 + 63) + 96
    with rtsep.Stream(path, 48_000, filter="short") as stream:
        assert stream.latency == 3 * (64 + 63) + 48


def test_one_dimension_and_nan(path):
    with rtsep.Stream(path, 16_000) as stream:
        x = sound(1, 2000, 16_000)[0]
        x[100] = np.nan
        y = stream.push(x)
        assert stream.bad_input == 1
        assert all(stem.shape == (2000,) and np.isfinite(stem).all() for stem in y.values())
        x[100] = 0
        assert np.allclose(sum(y.values())[stream.latency :], x[: 2000 - stream.latency], atol=1e-6)


def test_two_streams_share_nothing(path):
    x = sound(1, 4000, 16_000)
    with rtsep.Stream(path, 16_000) as one, rtsep.Stream(path, 16_000) as other:
        alone = run(one, x, [1000] * 4)
        one.reset()
        both = []
        for n in range(0, 4000, 1000):
            both.append(one.push(x[:, n : n + 1000])["voice"])
            other.push(-x[:, n : n + 1000])
        assert np.array_equal(np.concatenate(both, axis=1), alone["voice"])


def test_wrong_blocks_and_closed_streams_are_refused(path):
    with rtsep.Stream(path, 16_000, channels=2) as stream:
        for shape in ((5,), (1, 5), (3, 5), (1, 2, 5), ()):
            with pytest.raises(WrongCall, match="block"):
                stream.push(np.zeros(shape))
        assert stream.push(np.zeros((2, 0)))["voice"].shape == (2, 0)
    with pytest.raises(WrongCall, match="closed"):
        stream.push(np.zeros((2, 5)))
    stream.close()  # again: nothing happens
    with pytest.raises(WrongCall, match="Hz"):
        rtsep.Stream(path, 17)
    with pytest.raises(WrongCall, match="0 channels"):
        rtsep.Stream(path, 16_000, 0)
