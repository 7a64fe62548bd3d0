"""The law of a fader: where on its way (0 at the bottom, 1 at the top) it stands for which gain."""

from __future__ import annotations

import math

from rtsep.audio.levels import from_db, to_db

TOP_DB = 6.0
ZERO = 0.75  # where 0 dB is marked
# (place, dB), straight between: 0 dB at three quarters, finer there than at the bottom, where the
# last step goes to -inf.
_KNOTS = ((0.02, -60.0), (0.15, -35.0), (0.3, -20.0), (0.5, -10.0), (ZERO, 0.0), (1.0, TOP_DB))


def gain_at(place: float) -> float:
    """The factor of a fader at `place`, from 0 to 1; beyond, that of the end."""
    if place < _KNOTS[0][0]:
        return 0.0
    for (a, low), (b, high) in zip(_KNOTS[:-1], _KNOTS[1:], strict=True):
        if place <= b:
            return from_db(low + (place - a) / (b - a) * (high - low))
    return from_db(TOP_DB)


def place_of(gain: float) -> float:
    """Where a fader stands for the factor `gain`; for more than it can give, at its top."""
    db = to_db(gain)
    if db < _KNOTS[0][1]:
        return 0.0
    for (a, low), (b, high) in zip(_KNOTS[:-1], _KNOTS[1:], strict=True):
        if db <= high:
            return a + (db - low) / (high - low) * (b - a)
    return 1.0


def nudged(gain: float, db: float) -> float:
    """`gain`, so many dB further, on the next whole one: no more than the fader has, and off below
    its lowest mark."""
    now = to_db(gain)
    if now == -math.inf:
        return from_db(_KNOTS[0][1]) if db > 0 else 0.0
    aim = min(round(now + db), max(TOP_DB, now))
    return 0.0 if aim < _KNOTS[0][1] else from_db(aim)
