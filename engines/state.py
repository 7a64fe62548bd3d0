"""What an exported step's state is made of, for engines that hold it without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Leaf:
    """One tensor: its name, shape (batch first) and numpy type, and what it holds at first.

    `fresh` is one row of it, flat: a single number where all are equal.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    fresh: float | int | list


@dataclass(frozen=True)
class Layout:
    """One ring: its name, the shape of a block (1, new frames, ...) and how many it holds.

    `taps` are the distances, in frames, at which a step reads; `fresh` is in all of it at first.
    """

    name: str
    block: tuple[int, ...]
    dtype: str
    blocks: int
    taps: tuple[int, ...]
    fresh: float
