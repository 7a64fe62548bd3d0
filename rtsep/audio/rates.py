"""The rates that sound is taken at."""

from __future__ import annotations

from rtsep.errors import WrongCall

RATES = range(4_000, 768_001)
"""In Hz. What is outside is a broken file or a slip."""


def check_rate(rate: int) -> None:
    """Raises `WrongCall` for a rate outside `RATES`."""
    if rate not in RATES:
        raise WrongCall(f"a rate of {rate} Hz; from {RATES[0]} to {RATES[-1]} Hz is possible")
