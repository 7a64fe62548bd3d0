"""The fader's law: its marks, there and back, and steps that end where the fader does."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtsep.audio.fader import TOP_DB, ZERO, gain_at, nudged, place_of
from rtsep.audio.levels import from_db, to_db


def test_marks():
    assert gain_at(0) == 0 and gain_at(ZERO) == 1 and to_db(gain_at(1)) == pytest.approx(TOP_DB)
    assert (place_of(0), place_of(1), place_of(from_db(40))) == (0, ZERO, 1)
    assert gain_at(-1) == 0 and gain_at(2) == gain_at(1)


@given(st.floats(0.02, 1))
def test_there_and_back(place):
    assert place_of(gain_at(place)) == pytest.approx(place)


@given(st.floats(0, 1), st.floats(0, 1))
def test_higher_is_louder(a, b):
    assert (gain_at(a) <= gain_at(b)) == (a <= b) or gain_at(a) == gain_at(b)


def test_steps():
    assert to_db(nudged(1.0, 1)) == pytest.approx(1)
    assert to_db(nudged(from_db(-2.6), 1)) == pytest.approx(-2)
    assert to_db(nudged(from_db(5.5), 6)) == pytest.approx(TOP_DB)
    assert to_db(nudged(from_db(20), 1)) == pytest.approx(20)
    assert to_db(nudged(from_db(20), -1)) == pytest.approx(19)
    assert nudged(from_db(-60), -1) == 0 == nudged(0.0, -1)
    assert to_db(nudged(0.0, 1)) == pytest.approx(-60)
    gain, steps = 1.0, 0
    while gain and steps < 100:
        gain, steps = nudged(gain, -1), steps + 1
    assert steps == 61 and to_db(gain) == -math.inf
