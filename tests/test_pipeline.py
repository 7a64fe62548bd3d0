"""The path between a device's samples and an engine's, with engines whose answer is known."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtsep.engines.protocol import StreamSpec
from rtsep.errors import Failure, WrongCall
from rtsep.pipeline import Pipeline

RATES = [16000, 44100, 48000, 96000]
MASKS = {"voice": 0.25, "background": 0.75}


class Masks:
    """An engine that multiplies the mixture by a fixed mask per stem, `latency` samples late."""

    def __init__(self, chunk=64, latency=64, batch=1, channels=1, masks=MASKS):
        stems = tuple(masks)
        self.spec = StreamSpec(
            "masks", 16000, channels, stems, stems[0], stems[-1], chunk, batch, latency, 1,
            "float32", "cpu", "test", "",
        )  # fmt: skip
        self.masks = np.array(list(masks.values()), np.float32)[None, :, None, None]
        self.history = np.zeros((batch, channels, latency + chunk), np.float32)
        self.poison = {}  # step -> rows that answer NaN
        self.steps = 0

    def process(self, mixture, stems, active=None):
        chunk = self.spec.chunk
        self.history[..., :-chunk] = self.history[..., chunk:].copy()
        self.history[..., -chunk:] = mixture
        stems[...] = self.history[:, None, :, :chunk] * self.masks
        stems[self.poison.get(self.steps, [])] = np.nan
        self.steps += 1

    def reset(self, rows=None):
        self.history[slice(None) if rows is None else rows] = 0

    def close(self):
        self.closed = True


def tone(n, rate, frequency=440.0, channels=1):
    t = np.arange(n) / rate
    phases = np.arange(channels)[:, None]
    return np.sin(2 * np.pi * frequency * t + phases).astype(np.float32)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("latency", [0, 64, 77])
@pytest.mark.parametrize("chunk", [64, 100])
def test_stems_line_up_with_the_mixture(rate, latency, chunk):
    """In the pass band the soloed stem is a quarter of the input, sample for sample."""
    pipeline = Pipeline(Masks(chunk, latency), rate, 1)
    x = tone(rate // 4, rate) * np.hanning(rate // 4).astype(np.float32)
    y = np.concatenate([pipeline.process(x), pipeline.flush(x.shape[1])], axis=2)
    assert y.shape == (2, 1, x.shape[1])
    assert np.abs(y[0] - x / 4).max() < 1e-4 / 4 * 2.5
    assert np.abs(y[0] + y[1] - x).max() < 1e-6


@pytest.mark.parametrize("rate", RATES)
def test_an_impulse_comes_back_at_its_own_place(rate):
    pipeline = Pipeline(Masks(), rate, 1)
    x = np.zeros((1, 8000), np.float32)
    x[0, 3001] = 1
    voice = np.concatenate([pipeline.process(x), pipeline.flush(8000)], axis=2)[0, 0]
    assert np.argmax(np.abs(voice)) == 3001
    residue = np.fft.rfft(voice.astype(float) - x[0] / 4)
    band = np.fft.rfftfreq(8000, 1 / rate) <= (6700 if rate != 16000 else rate)
    assert np.abs(residue[band]).max() < 1e-3 / 4


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_output_does_not_depend_on_the_cut(data):
    rate = data.draw(st.sampled_from([*RATES, 22050, 11025]))
    chunk, latency = data.draw(st.integers(1, 200)), data.draw(st.integers(0, 200))
    pipeline = Pipeline(Masks(chunk, latency, batch=2), rate, 2)
    cuts = data.draw(st.lists(st.integers(0, 1500), min_size=1, max_size=10))
    x = np.random.default_rng(0).standard_normal((2, sum(cuts))).astype(np.float32)
    parts, n = [], 0
    for size in cuts:
        parts.append(pipeline.process(x[:, n : n + size]))
        n += size
        given_so_far = sum(part.shape[2] for part in parts)
        assert given_so_far == pipeline.computable(n)
        assert n - given_so_far <= pipeline.latency
    parts.append(pipeline.flush(x.shape[1]))
    pipeline.reset()
    whole = np.concatenate([pipeline.process(x), pipeline.flush(x.shape[1])], axis=2)
    assert np.array_equal(np.concatenate(parts, axis=2), whole)
    assert whole.shape[2] == x.shape[1]


@pytest.mark.parametrize("rate", [*RATES, 22050, 44101])
@pytest.mark.parametrize("chunk", [64, 50])
def test_delay_latency_and_period_are_what_counting_finds(rate, chunk):
    pipeline = Pipeline(Masks(chunk, 64), rate, 1)
    period = pipeline.period
    begin = (pipeline.delay // period + 1) * period
    for n in (begin, begin + 1, begin + 777):
        assert pipeline.computable(n + period) == pipeline.computable(n) + period
    behind = [n - pipeline.computable(n) for n in range(begin, begin + min(period, 100_000))]
    assert behind[0] == pipeline.delay  # whole chunks, whole periods: nothing but the delay
    assert max(behind) == pipeline.latency or period > 100_000
    assert sum(pipeline.parts.values()) == pipeline.delay


def test_delay_at_48_khz_is_the_models_and_two_milliseconds():
    assert Pipeline(Masks(), 48000, 1).parts == {"resample": 96, "model": 192}
    assert Pipeline(Masks(), 48000, 1, "short").parts == {"resample": 48, "model": 192}
    assert Pipeline(Masks(), 16000, 1).parts == {"resample": 0, "model": 64}
    parts = Pipeline(Masks(), 44100, 1).parts
    assert parts["model"] == Fraction(64 * 441, 160) and sum(parts.values()) == 264


@pytest.mark.parametrize("rate", [16000, 48000])
def test_an_output_depends_on_delay_samples_of_future_and_no_more(rate):
    x = np.random.default_rng(0).standard_normal((1, 6000)).astype(np.float32)
    pipeline = Pipeline(Masks(), rate, 1)
    first = pipeline.process(x)
    at = 4000
    changed = x.copy()
    changed[0, at] += 1
    pipeline.reset()
    second = pipeline.process(changed)
    touched = np.flatnonzero(first[0, 0] != second[0, 0])
    assert touched.min() >= at - pipeline.delay


def test_the_remainder_takes_what_the_band_limit_loses():
    pipeline = Pipeline(Masks(), 48000, 1)
    x = tone(9600, 48000, 12_000)
    y = pipeline.process(x)
    late = slice(2000, y.shape[2])
    assert np.abs(y[0, 0, late]).max() < 1e-4
    assert np.abs(y[1, 0, late] - x[0, late]).max() < 1e-4


@pytest.mark.parametrize("rate", [16000, 48000])
@pytest.mark.parametrize("model,channels", [(1, 1), (1, 3), (2, 1), (2, 2)])
def test_channels(rate, model, channels):
    batch = channels if model == 1 else 1
    masks = {"a": 0.5, "b": 0.125, "c": 0.375}
    pipeline = Pipeline(Masks(batch=batch, channels=model, masks=masks), rate, channels)
    x = tone(3200, rate, channels=channels) * np.hanning(3200).astype(np.float32)
    y = np.concatenate([pipeline.process(x), pipeline.flush(3200)], axis=2)
    expected = np.array(list(masks.values()))[:, None, None] * x
    assert y.shape == expected.shape
    assert np.abs(y - expected).max() < 3e-4


def test_a_single_stem_is_the_mixture():
    x = tone(4000, 48000)
    y = Pipeline(Masks(masks={"all": 1.0}), 48000, 1).process(x)
    assert np.array_equal(y[0], x[:, : y.shape[2]])


def test_channel_counts_that_do_not_fit_are_refused():
    stereo = SimpleNamespace(channels=2)
    assert Pipeline.batch_for(stereo, 1) == Pipeline.batch_for(stereo, 2) == 1
    assert Pipeline.batch_for(SimpleNamespace(channels=1), 5) == 5
    with pytest.raises(WrongCall, match="takes 1 or 2"):
        Pipeline.batch_for(stereo, 3)
    with pytest.raises(WrongCall, match="at least 1"):
        Pipeline.batch_for(stereo, 0)
    with pytest.raises(WrongCall, match="batch of 2"):
        Pipeline(Masks(), 48000, 2)
    with pytest.raises(WrongCall, match="shape"):
        Pipeline(Masks(), 48000, 1).process(np.zeros((2, 10), np.float32))
    with pytest.raises(WrongCall, match="Hz"):
        Pipeline(Masks(), 100, 1)


def test_bad_input_becomes_silence_and_is_counted():
    x = tone(3000, 48000)
    y = Pipeline(Masks(), 48000, 1).process(np.where(np.arange(3000) % 100 == 7, 0, x))
    x[0, 7::100] = np.where(np.arange(30) % 2, np.nan, -np.inf)
    kept = x.copy()
    pipeline = Pipeline(Masks(), 48000, 1)
    assert np.array_equal(pipeline.process(x), y)
    assert pipeline.bad_input == 30
    assert np.array_equal(x, kept, equal_nan=True)  # the caller's block is left alone


@pytest.mark.parametrize("rate", [16000, 48000])
def test_nan_from_the_engine_resets_that_row_and_is_told(rate):
    engine = Masks(batch=2)
    engine.poison = {10: [1]}
    pipeline = Pipeline(engine, rate, 2)
    x = tone(6000, rate, channels=2)
    size, outputs, valid = 64 * rate // 16000, [], []
    for n in range(0, x.shape[1] - size + 1, size):
        outputs.append(pipeline.process(x[:, n : n + size]))
        valid += [pipeline.valid] * outputs[-1].shape[2]
    y, valid = np.concatenate(outputs, axis=2), np.array(valid)
    assert pipeline.resets == 1
    assert np.isfinite(y).all()
    clean = Pipeline(Masks(batch=2), rate, 2).process(x)
    assert np.array_equal(y[:, 0], clean[:, 0])  # the other row never noticed
    wrong = np.flatnonzero(y[0, 1] != clean[0, 1, : y.shape[2]])
    assert wrong.size and not valid[wrong].any()
    assert valid[: wrong.min() - size].all() and valid[wrong.max() + size :].all()
    assert np.abs(y.sum(axis=0) - x[:, : y.shape[2]]).max() < 1e-6


def test_steps_are_timed_and_closing_closes_the_engine():
    engine = Masks()
    pipeline = Pipeline(engine, 16000, 1)
    pipeline.process(np.zeros((1, 640), np.float32))
    assert pipeline.steps == 10
    assert (pipeline.passage.ns[:10] > 0).all() and not pipeline.passage.ns[10:].any()
    pipeline.close()
    assert engine.closed
    with pytest.raises(Failure, match="closed"):
        pipeline.process(np.zeros((1, 640), np.float32))


@pytest.mark.parametrize("error", [Failure("out of memory"), KeyboardInterrupt()])
def test_what_a_step_raises_is_raised(error):
    engine = Masks()
    pipeline = Pipeline(engine, 48000, 1)
    x = tone(3000, 48000)
    y = pipeline.process(x)
    engine.process, process = lambda *_: raising(error), engine.process
    with pytest.raises(type(error)):
        pipeline.process(x)
    engine.process = process
    pipeline.reset()
    assert np.array_equal(pipeline.process(x), y)


def raising(error):
    raise error


def test_it_starts_anew_after_reset():
    pipeline = Pipeline(Masks(), 44100, 1)
    x = tone(5000, 44100)
    first = pipeline.process(x)
    pipeline.reset()
    assert np.array_equal(pipeline.process(x), first)


def test_the_spec_of_a_model_and_of_an_engine_both_tell_the_batch():
    assert Pipeline.batch_for(replace(Masks().spec, channels=1), 2) == 2


def test_its_memory_goes_with_it():
    gc.disable()
    try:
        pipeline = Pipeline(Masks(), 48000, 1)
        pipeline.process(np.zeros((1, 640), np.float32))
        gone = weakref.ref(pipeline.engine)
        del pipeline
        assert gone() is None
    finally:
        gc.enable()
