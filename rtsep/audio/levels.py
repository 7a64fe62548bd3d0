"""Levels: decibels (full scale ±1 is 0 dB) and factors."""

from __future__ import annotations

import math
import re

from rtsep.errors import WrongCall

MOST_DB = 40.0
"""The largest gain that can be asked for: more is a slip of the finger, and hurts."""


def from_db(db: float) -> float:
    """The factor of a gain in dB; -inf is 0."""
    return 0.0 if db == -math.inf else 10.0 ** (db / 20)


def to_db(factor: float) -> float:
    """The dB of a factor (its sign does not matter); 0 is -inf."""
    return -math.inf if factor == 0 else 20 * math.log10(abs(factor))


def parse(text: str) -> float:
    """The factor that "0dB", "-6 dB", "+3.5" or "-inf" stands for.

    Raises `WrongCall` for anything else, and above `MOST_DB`.
    """
    match = re.fullmatch(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)|-inf)\s*(?:db)?\s*", text.lower())
    if match is None:
        raise WrongCall(f"a gain of {text!r}; it is written as 0dB, -6dB or -inf")
    db = float(match[1])
    if db > MOST_DB:
        raise WrongCall(f"a gain of {text!r}; at most {MOST_DB:g} dB is possible")
    return from_db(db)


def describe(factor: float) -> str:
    """A factor as text: "-6.0 dB", or "off" for 0."""
    return f"{to_db(factor):+.1f} dB" if factor else "off"
