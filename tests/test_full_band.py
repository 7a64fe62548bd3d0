"""What a model can't hear is shared by what it does with the octave below, and nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest
from small_separator import sound
from test_pipeline import MASKS, Masks, tone

import rtsep
from rtsep.full_band import SMOOTHING, FullBand, share
from rtsep.pipeline import Pipeline

RATE = 48000


def separated(x, full_band=True, rate=RATE):
    pipeline = Pipeline(Masks(batch=len(x)), rate, len(x), full_band=full_band)
    return np.concatenate([pipeline.process(x), pipeline.flush(x.shape[1])], axis=2)


def level(x, frequency):
    """Of a tone in x (n,), after its beginning."""
    part = x[RATE // 4 :].astype(float)
    phase = np.exp(-2j * np.pi * frequency * np.arange(len(part)) / RATE)
    return 2 * np.abs(np.mean(part * phase))


def test_shares_are_those_of_the_energies_in_the_octave_below():
    x = 0.4 * tone(RATE, RATE, 5000) + 0.4 * tone(RATE, RATE, 12_000)
    voice, background = separated(x)[:, 0]
    share = MASKS["voice"] ** 2 / sum(mask**2 for mask in MASKS.values())
    assert level(voice, 12_000) == pytest.approx(0.4 * share, rel=0.02)
    assert level(background, 12_000) == pytest.approx(0.4 * (1 - share), rel=0.02)
    assert level(voice, 5000) == pytest.approx(0.4 * MASKS["voice"], rel=0.02)
    assert np.abs(voice + background - x[0]).max() < 1e-6


def test_without_it_all_is_the_remainders():
    x = 0.4 * tone(RATE, RATE, 5000) + 0.4 * tone(RATE, RATE, 12_000)
    voice, background = separated(x, full_band=False)[:, 0]
    assert level(voice, 12_000) < 1e-4
    assert level(background, 12_000) == pytest.approx(0.4, rel=0.01)


def test_where_the_model_hears_nothing_the_remainder_has_it():
    x = 0.4 * tone(RATE, RATE, 12_000)
    voice, _ = separated(x)[:, 0]
    assert np.abs(voice[RATE // 4 : -RATE // 100]).max() < 1e-4


@pytest.mark.parametrize("rate", [8000, 16_000])
def test_nothing_is_above_a_model_of_the_same_rate(rate):
    x = np.random.default_rng(1).standard_normal((1, rate)).astype(np.float32)
    assert np.array_equal(separated(x, True, rate), separated(x, False, rate))


def test_channels_have_shares_of_their_own():
    left = tone(RATE, RATE, 5000) + tone(RATE, RATE, 12_000)
    right = tone(RATE, RATE, 300) + tone(RATE, RATE, 12_000)
    both = separated(np.concatenate([left, right]))
    alone = [separated(x)[:, 0] for x in (left, right)]
    for channel in range(2):
        assert np.array_equal(both[:, channel], alone[channel])


def test_the_share_is_what_the_formula_says():
    """Two band-passes in a row as a convolution, a one-pole mean of their squares, and ratios."""
    rng, n, top = np.random.default_rng(2), 4000, 7000.0
    stems = rng.standard_normal((3, 1, n)).astype(np.float32) * [[[1.0]], [[0.3]], [[0.1]]]
    stems = stems.astype(np.float32)
    high = rng.standard_normal((1, n)).astype(np.float32)
    omega = 2 * np.pi * top / np.sqrt(2) / RATE
    alpha = np.sin(omega) / (2 * np.sqrt(2))
    z = np.exp(-2j * np.pi * np.arange(n + 1) / (2 * n))
    response = alpha * (1 - z**2) / (1 + alpha - 2 * np.cos(omega) * z + (1 - alpha) * z**2)
    seen = np.fft.irfft(np.fft.rfft(stems, 2 * n) * response**2)[..., :n]
    decay = np.exp(-1 / (SMOOTHING * RATE))
    fading = (1 - decay) * decay ** np.arange(n)
    energies = np.fft.irfft(np.fft.rfft(seen**2, 2 * n) * np.fft.rfft(fading, 2 * n))[..., :n]
    extra = np.fft.irfft(np.fft.rfft(high**2, 2 * n) * np.fft.rfft(fading, 2 * n))[..., :n]
    known = stems + energies / (energies.sum(axis=0) + 1e-4 * extra) * high
    shared = stems.copy()
    band = FullBand(RATE, top, 3, 1, n)
    band.state.high[...] = high
    share(band.state, shared, n)
    late = slice(200, None)  # before that the energies are next to nothing
    assert np.abs(shared[:2, :, late] - known[:2, :, late]).max() < 1e-4
    assert np.array_equal(shared[2], stems[2])


@pytest.mark.parametrize("full_band", [True, False])
def test_arrays_streams_and_the_options_agree(small_path, full_band):
    x = sound(2, 20_000, RATE)
    whole = rtsep.separate(x, RATE, small_path, full_band=full_band)
    with rtsep.Stream(small_path, RATE, 2, full_band=full_band) as stream:
        parts = [stream.push(x[:, n : n + 777]) for n in range(0, x.shape[1], 777)]
    for stem, known in whole.items():
        heard = np.concatenate([part[stem] for part in parts], axis=1)
        late = stream.latency
        assert np.array_equal(heard[:, late:], known[:, : x.shape[1] - late])
    assert np.abs(sum(whole.values()) - x).max() < 1e-6
    other = rtsep.separate(x, RATE, small_path, full_band=not full_band)
    assert not np.array_equal(whole["voice"], other["voice"])
