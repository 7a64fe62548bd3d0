"""Where controls can stand. Light: nothing is loaded to say it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from rtsep.audio.levels import MOST_DB, from_db
from rtsep.errors import WrongCall


@dataclass(frozen=True)
class Scene:
    """Where all controls stand, by stem: factors, what is muted, what is soloed; then `wet` (0 to
    1) and `bypass`. Stems that are not named stand at 0 dB, heard."""

    gains: dict[str, float] = field(default_factory=dict)
    mutes: tuple[str, ...] = ()
    solos: tuple[str, ...] = ()
    wet: float = 1.0
    bypass: bool = False

    @property
    def chooses(self) -> bool:
        """Whether it says what is heard of any stem."""
        return bool(self.gains or self.mutes or self.solos)

    @property
    def stems(self) -> tuple[str, ...]:
        """All that it names."""
        return (*self.gains, *self.mutes, *self.solos)


def factor(value: float) -> float:
    """`value`, or `WrongCall` where it is no gain that can be meant."""
    try:
        gain = float(value)
    except (TypeError, ValueError):
        raise WrongCall(f"a gain of {value!r}; it is a factor, as 0.5") from None
    if not math.isfinite(gain) or abs(gain) > from_db(MOST_DB) * (1 + 1e-9):
        raise WrongCall(f"a gain of {value!r}; at most {MOST_DB:g} dB is possible")
    return gain


def share(value: float) -> float:
    """`value`, or `WrongCall` where it does not lie between 0 and 1."""
    try:
        part = float(value)
    except (TypeError, ValueError):
        part = math.nan
    if not 0 <= part <= 1:
        raise WrongCall(f"a wet of {value!r}; between 0 and 1")
    return part


def check_stems(named: Sequence[str], model: str, stems: Sequence[str]) -> None:
    """Raises `WrongCall` where a stem is named that the model lacks."""
    for name in named:
        if name not in stems:
            raise WrongCall(f"no stem {name!r}: {model} has {', '.join(stems)}")
