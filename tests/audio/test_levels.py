from __future__ import annotations

import math

import pytest

from rtsep.audio.levels import describe, from_db, parse, to_db
from rtsep.errors import WrongCall


@pytest.mark.parametrize(
    "text,db",
    [("0dB", 0), ("-6dB", -6), (" -6 dB", -6), ("+3.5", 3.5), ("-.5db", -0.5), ("40DB", 40)],
)
def test_gains_are_read(text, db):
    assert to_db(parse(text)) == pytest.approx(db, abs=1e-12)


@pytest.mark.parametrize("text", ["-inf", "-inf dB", "-INFdb"])
def test_minus_infinity_is_silence(text):
    assert parse(text) == 0


@pytest.mark.parametrize("text", ["", "dB", "loud", "inf", "nan", "1e3", "--6", "6 7", "0x1", "41"])
def test_anything_else_is_refused(text):
    with pytest.raises(WrongCall, match="gain"):
        parse(text)


def test_both_ways():
    assert from_db(20) == pytest.approx(10)
    assert from_db(-math.inf) == 0 and to_db(0) == -math.inf
    assert describe(0.5) == "-6.0 dB" and describe(0) == "off"
