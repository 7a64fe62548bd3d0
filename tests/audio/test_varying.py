"""The resampler whose ratio varies: a tone stays a tone."""

import numpy as np
import pytest

from rtsep.audio.varying import interpolate, reach, table


@pytest.mark.parametrize("rate_in, rate_out", [(48000, 48000), (44100, 48000), (96000, 44100)])
@pytest.mark.parametrize("share", [0.03, 0.4])
def test_a_tone_through_a_drifting_ratio(rate_in, rate_out, share):
    """Steps that change from call to call, by some hundred ppm in all: what comes out is the tone
    at the places that were asked for, clean to 80 dB, near the end of the pass band too."""
    hertz = share * min(rate_in, rate_out)
    seconds, block = 0.5, 100
    x = np.sin(2 * np.pi * hertz / rate_in * np.arange(int(seconds * rate_in)))
    sound = np.stack([x, -x]).astype(np.float32)
    coefficients = table(rate_in, rate_out)
    place, out, places = 500.25, [], []
    while True:
        step = rate_in / rate_out * (1 + 4e-4 * np.sin(20 * place / rate_in))
        if place + block * step > len(x):
            break
        y = np.empty((block, 2), np.float32)
        interpolate(coefficients, sound, place, step, y)
        out.append(y)
        places.append(place + step * np.arange(block))
        place += block * step
    y, at = np.concatenate(out), np.concatenate(places) - reach(rate_in, rate_out)
    error = y[:, 0] - np.sin(2 * np.pi * hertz / rate_in * at)
    assert 10 * np.log10(np.mean(error**2) / 0.5) < -80
    assert np.array_equal(y[:, 1], -y[:, 0])


def test_what_is_constant_stays_so():
    y = np.empty((64, 1), np.float32)
    interpolate(table(48000, 48000), np.ones((1, 200), np.float32), 60.5, 1.0003, y)
    assert np.abs(y - 1).max() < 1e-6
