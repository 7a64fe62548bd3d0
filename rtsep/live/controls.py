"""What is heard, as mappings over the controls in a run's block: changes ramp over 5 ms."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

from rtsep.audio.levels import MOST_DB, from_db
from rtsep.errors import Failure, WrongCall
from rtsep.live import layout
from rtsep.live.layout import Block

_SLOTS = {"gain": layout.GAIN, "mute": layout.MUTE, "solo": layout.SOLO}


class _Controls(Mapping):
    """By stem. `before` is called before a change. Keys are fixed; values can be assigned."""

    def __init__(self, block: Block, stems: tuple[str, ...], kind: str, before: Callable[[], None]):
        self._values: object = block.f64
        self._slots = {stem: _SLOTS[kind] + k for k, stem in enumerate(stems)}
        self._before = before

    def __getitem__(self, stem: str):
        return self._read(self._there()[self._slot(stem)])

    def __setitem__(self, stem: str, value) -> None:
        slot, value = self._slot(stem), self._write(value)
        values = self._there()
        self._before()
        values[slot] = value

    def __iter__(self) -> Iterator[str]:
        return iter(self._slots)

    def __len__(self) -> int:
        return len(self._slots)

    def __repr__(self) -> str:
        return repr(dict(self)) if self._values is not None else "{}"

    def update(self, values: Mapping[str, float]) -> None:
        """Assigns several."""
        for stem, value in values.items():
            self[stem] = value

    def release(self) -> None:
        """The run is over: nothing can be read or assigned any more."""
        self._values = None

    def _slot(self, stem: str) -> int:
        if stem not in self._slots:
            raise WrongCall(f"no stem {stem!r}: there is {', '.join(self._slots)}")
        return self._slots[stem]

    def _there(self):
        if self._values is None:
            raise Failure("this run is over: make another rtsep.Live")
        return self._values


class Faders(_Controls):
    """Factors."""

    def __init__(self, block: Block, stems: tuple[str, ...], before: Callable[[], None]):
        super().__init__(block, stems, "gain", before)

    _read = staticmethod(float)

    @staticmethod
    def _write(value: float) -> float:
        return factor(value)


class Switches(_Controls):
    """On or off."""

    _read = staticmethod(bool)

    @staticmethod
    def _write(value: bool) -> float:
        return float(bool(value))


def factor(value: float) -> float:
    """`value`, or `WrongCall` where it is no gain that can be meant."""
    try:
        gain = float(value)
    except (TypeError, ValueError):
        raise WrongCall(f"a gain of {value!r}; it is a factor, as 0.5") from None
    if not math.isfinite(gain) or abs(gain) > from_db(MOST_DB) * (1 + 1e-9):
        raise WrongCall(f"a gain of {value!r}; at most {MOST_DB:g} dB is possible")
    return gain
