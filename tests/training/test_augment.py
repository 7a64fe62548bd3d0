"""Speed, colours, rooms and made noises, each against what it should do to a known sound."""

from __future__ import annotations

import numpy as np
import pytest

from rtsep.training.augment import Filters, envelope, room, stretched
from rtsep.training.noises import machine

RATE, LENGTH = 16000, 8000


@pytest.fixture(scope="module")
def filters():
    return Filters(LENGTH, RATE, seed=0, count=8)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_speed_one_changes_nothing():
    x = rng().standard_normal(LENGTH + 8).astype(np.float32)
    np.testing.assert_array_equal(stretched(x, 1.0, LENGTH), x[1 : LENGTH + 1])


def test_speed_moves_pitch():
    x = np.sin(2 * np.pi * 400 / RATE * np.arange(2 * LENGTH)).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(stretched(x, 1.25, LENGTH)))
    assert spectrum.argmax() * RATE / LENGTH == pytest.approx(500, abs=2)


def test_a_colour_is_gentle_and_differs(filters):
    levels = 20 * np.log10(filters.colours[:, 100:-100])
    assert np.abs(levels).max() < 25 and levels.std(0).mean() > 1


def test_a_filtered_click_is_the_response(filters):
    click = np.zeros(LENGTH, np.float32)
    click[4000] = 1
    dry = filters.apply(click, rng(), strong=False, room=False)
    wet = filters.apply(click, rng(), strong=False, room=True)
    assert dry.shape == wet.shape == (LENGTH,)
    assert np.abs(dry).argmax() == 4000
    # A room answers afterwards, not before.
    before, after = slice(0, 3900), slice(4100, LENGTH)
    assert (wet[after] ** 2).sum() > 20 * (dry[after] ** 2).sum()
    assert (wet[before] ** 2).sum() < 1e-3 * (wet**2).sum()


def test_a_room_decays():
    response = room(rng(), RATE, 6400)
    assert response[0] == pytest.approx(1, abs=0.2)
    assert (response[:800] ** 2).sum() > (response[-800:] ** 2).sum() * 5


def test_noise_is_stationary_and_coloured(filters):
    tilts = []
    for seed in range(12):
        x = filters.noise(rng(seed))
        halves = [(x[:4000] ** 2).mean(), (x[4000:] ** 2).mean()]
        assert (x**2).mean() == pytest.approx(1, rel=0.8)
        assert np.isfinite(x).all() and 0.2 < halves[0] / halves[1] < 5
        spectrum = np.abs(np.fft.rfft(x)) ** 2
        tilts.append(10 * np.log10(spectrum[50:400].mean() / spectrum[1500:3500].mean()))
    assert max(tilts) - min(tilts) > 10


def test_an_envelope_wanders_without_jumps():
    x = envelope(rng(), LENGTH, 6, 8)
    assert x.min() > 0 and x.max() / x.min() > 1.5
    assert np.abs(np.diff(x)).max() < 0.01


def test_machines_hum(filters):
    peaks = []
    for seed in range(8):
        x = machine(rng(seed), filters, RATE)
        assert x.shape == (LENGTH,) and np.isfinite(x).all()
        spectrum = np.abs(np.fft.rfft(x * np.hanning(LENGTH))) ** 2
        peaks.append(spectrum.max() / np.median(spectrum))
    assert np.median(peaks) > 100
