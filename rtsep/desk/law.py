"""What a fader's place means: a gain in dB, or a share in per cent."""

from __future__ import annotations

from typing import Protocol

from rtsep.audio.fader import TOP_DB, gain_at, nudged, place_of
from rtsep.audio.levels import from_db, to_db


class Law(Protocol):
    """`whole` is the value that a double click or the key 0 gives, `marks` what the scale says."""

    whole: float
    marks: tuple[tuple[float, str], ...]

    def place(self, value: float) -> float: ...

    def value(self, place: float) -> float: ...

    def nudged(self, value: float, steps: int) -> float: ...

    def text(self, value: float) -> str: ...


class Gain:
    """Factors, a step being 1 dB."""

    whole = 1.0
    marks = tuple(
        (place_of(from_db(db)), f"{db:+.0f}" if db else "0") for db in (TOP_DB, 0, -10, -20, -40)
    )

    place = staticmethod(place_of)
    nudged = staticmethod(nudged)

    def value(self, place: float) -> float:
        return gain_at(place)

    def text(self, value: float) -> str:
        return f"{to_db(value):+.1f} dB" if value else "off"


class Share:
    """Between 0 and 1, a step being 5 %."""

    whole = 1.0
    marks = ((1.0, "wet"), (0.5, "50"), (0.0, "dry"))

    def place(self, value: float) -> float:
        return value

    def value(self, place: float) -> float:
        return min(1.0, max(0.0, place))

    def nudged(self, value: float, steps: int) -> float:
        return min(1.0, max(0.0, round(value * 20 + steps) / 20))

    def text(self, value: float) -> str:
        return f"{100 * value:.0f} %"


GAIN, SHARE = Gain(), Share()
