"""The streaming resampler against its definition, written once more without tables or streams."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtsep.audio.filters import FILTERS
from rtsep.audio.rates import RATES
from rtsep.audio.resampling import Resampler
from rtsep.errors import WrongCall

DEVICE_RATES = [8000, 16000, 22050, 44100, 48000, 88200, 96000, 192000, 44101, 31999]


def naive(x, rate_in, rate_out, name, delay, count):
    """Output k is the sum over all input samples of sample times kernel(distance in time)."""
    low_pass, low = FILTERS[name], min(rate_in, rate_out)
    times = np.arange(x.shape[1])
    y = np.zeros((x.shape[0], count))
    for k in range(count):
        centre = Fraction(k * rate_in, rate_out) - delay * rate_in  # in input samples
        near = np.abs(times - float(centre)) <= low_pass.half * rate_in / low + 1
        distance = times[near] - float(centre)
        reach = np.arange(-low_pass.half * rate_in // low - 2, low_pass.half * rate_in // low + 3)
        extended = reach - float(centre - round(centre))
        weight = low_pass.taps(extended * low / rate_in).sum()  # each output's weights sum to 1
        y[:, k] = x[:, near] @ low_pass.taps(distance * low / rate_in) / weight
    return y


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("rate", DEVICE_RATES)
@pytest.mark.parametrize("down", [True, False])
def test_equals_the_definition(rate, down, name):
    rates = (rate, 16000) if down else (16000, rate)
    x = np.random.default_rng(1).standard_normal((2, 250 if down else 60)).astype(np.float32)
    resampler = Resampler(*rates, 2, name)
    y = resampler.process(x)
    expected = naive(x, *rates, name, resampler.delay, y.shape[1])
    bound = 1e-6 if Fraction(*rates).denominator <= 1024 else 4e-6
    assert np.abs(y - expected).max() < bound * np.abs(expected).max()
    assert y.dtype == np.float32


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_output_does_not_depend_on_the_cut(data):
    rates = data.draw(st.tuples(*[st.sampled_from(DEVICE_RATES)] * 2))
    half_width = Fraction(16, min(rates))
    extra = data.draw(st.fractions(-2, 2, max_denominator=50)) * half_width
    resampler = Resampler(*rates, 1, delay=half_width + extra)
    cuts = data.draw(st.lists(st.integers(0, 700), min_size=1, max_size=12))
    x = np.random.default_rng(2).standard_normal((1, sum(cuts))).astype(np.float32)
    parts, n = [], 0
    for size in cuts:
        before = sum(part.shape[1] for part in parts)
        parts.append(resampler.process(x[:, n : n + size]))
        n += size
        assert before + parts[-1].shape[1] == resampler.computable(n)
    resampler.reset()
    assert np.array_equal(np.concatenate(parts, axis=1), resampler.process(x))


def test_long_pieces_and_short_ones_agree_over_many_pieces():
    x = np.random.default_rng(3).standard_normal((2, 50_000)).astype(np.float32)
    whole = Resampler(44100, 16000, 2).process(x)
    resampler = Resampler(44100, 16000, 2)
    parts = [resampler.process(x[:, n : n + 61]) for n in range(0, 50_000, 61)]
    assert np.array_equal(np.concatenate(parts, axis=1), whole)


@pytest.mark.parametrize("rates", [(48000, 16000), (44100, 16000), (16000, 44100), (16000, 96000)])
def test_an_impulse_arrives_after_the_delay(rates):
    """The kernel is symmetric about a time, which may lie between two output samples."""
    resampler = Resampler(*rates, 1)
    at = 1000
    x = np.zeros((1, 3000), np.float32)
    x[0, at] = 1
    y = resampler.process(x)[0].astype(float)
    centre = (y * np.arange(len(y))).sum() / y.sum()
    expected = (Fraction(at, rates[0]) + resampler.delay) * rates[1]
    assert centre == pytest.approx(float(expected), abs=1e-3)


def test_any_delay_is_met_to_a_fraction_of_a_sample():
    for delay in (Fraction(1, 1000), Fraction(-7, 3000), Fraction(1, 333), Fraction(1, 128_000)):
        resampler = Resampler(16000, 48000, 1, delay=delay)
        t = np.arange(4000) / 16000
        y = resampler.process(np.sin(2 * np.pi * 997 * t)[None].astype(np.float32))[0]
        k = np.arange(len(y))
        expected = np.sin(2 * np.pi * 997 * (k / 48000 - float(delay)))
        assert np.abs(y - expected)[300:].max() < 3e-4


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("rates", [(48000, 16000), (44100, 16000), (16000, 44100), (192000, 16000)])
def test_pass_band_and_stop_band_are_as_declared(rates, name):
    resampler = Resampler(*rates, 1, name)
    ripple = FILTERS[name].ripple
    t = np.arange(rates[0] // 5) / rates[0]

    def gain(frequency):
        y = resampler.process(np.sin(2 * np.pi * frequency * t)[None].astype(np.float32))[0]
        resampler.reset()
        k = np.arange(len(y))[len(y) // 4 :]  # past the onset
        angle = 2 * np.pi * frequency * k / rates[1]
        waves = np.stack([np.sin(angle), np.cos(angle)], axis=1)
        return np.linalg.norm(np.linalg.lstsq(waves, y[k].astype(float), rcond=None)[0])

    for frequency in np.linspace(50, resampler.passband, 9):
        assert abs(gain(frequency) - 1) < 1.5 * ripple
    if rates[0] > rates[1]:
        for frequency in np.linspace(resampler.stopband, 0.49 * rates[0], 9):
            assert gain(frequency) < 1.5 * ripple


def test_the_standard_filter_takes_a_millisecond_and_the_short_one_half():
    assert Resampler(48000, 16000, 1).delay == Fraction(1, 1000)
    assert Resampler(16000, 48000, 1).delay == Fraction(1, 1000)
    assert Resampler(16000, 48000, 1, "short").delay == Fraction(1, 2000)


def test_silence_stays_exactly_silent_and_a_constant_constant():
    assert not Resampler(44100, 16000, 1).process(np.zeros((1, 5000), np.float32)).any()
    y = Resampler(44100, 16000, 1).process(np.ones((1, 5000), np.float32))
    assert np.abs(y[0, 40:] - 1).max() < 1e-6


def test_memory_does_not_grow():
    resampler = Resampler(44100, 16000, 2)
    history, table, *_ = resampler.state
    size = history.nbytes + table.nbytes
    for n in (1, 10_000, 7, 40_000):
        resampler.process(np.ones((2, n), np.float32))
    history, table, *_ = resampler.state
    assert history.nbytes + table.nbytes == size < 400_000


@pytest.mark.parametrize("rate", [0, -1, 3999, 768_001, 2**31])
def test_wrong_rates_are_refused(rate):
    with pytest.raises(WrongCall, match=f"{rate} Hz"):
        Resampler(rate, 16000, 1)
    with pytest.raises(WrongCall):
        Resampler(16000, rate, 1)


def test_unknown_filters_are_refused():
    with pytest.raises(WrongCall, match="standard"):
        Resampler(48000, 16000, 1, "steep")
    with pytest.raises(WrongCall, match="48000 and 16000 Hz"):
        Resampler(48000, 16000, 1, None)
    with pytest.raises(WrongCall, match="1/2 samples takes a filter"):
        Resampler(16000, 16000, 1, None, Fraction(1, 32000))


@pytest.mark.parametrize("delay", [0, 77, -77])
def test_between_equal_rates_without_a_filter_samples_stay_what_they_are(delay):
    x = np.random.default_rng(4).standard_normal((2, 9000)).astype(np.float32)
    resampler = Resampler(16000, 16000, 2, None, Fraction(delay, 16000))
    y = np.concatenate([resampler.process(x[:, n : n + 61]) for n in range(0, 9000, 61)], axis=1)
    assert resampler.half_width == 0
    if delay >= 0:
        assert np.array_equal(y, np.pad(x, [(0, 0), (delay, 0)])[:, : y.shape[1]])
        assert y.shape[1] == 9000 + delay
    else:
        assert np.array_equal(y, x[:, -delay:])


def test_the_range_of_rates_itself_is_usable():
    x = np.ones((1, 20_000), np.float32)
    for rates in ((RATES[0], RATES[-1]), (RATES[-1], RATES[0])):
        resampler = Resampler(*rates, 1)
        y = resampler.process(x)
        assert np.abs(y[0, y.shape[1] // 2 : y.shape[1] * 3 // 4] - 1).max() < 1e-5
