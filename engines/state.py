"""What an exported step's state is made of, for engines that hold it without torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass


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


def written(leaves: Sequence[Leaf], rings: Sequence[Layout] = ()) -> bytes:
    """As a part of a cache entry."""
    state = {"leaves": [asdict(leaf) for leaf in leaves], "rings": [asdict(r) for r in rings]}
    return json.dumps(state).encode()


def read(part: bytes) -> tuple[list[Leaf], list[Layout]]:
    """What `written` was given."""
    state = json.loads(part)
    leaves = [Leaf(**leaf | {"shape": tuple(leaf["shape"])}) for leaf in state["leaves"]]
    rings = [
        Layout(**ring | {name: tuple(ring[name]) for name in ("block", "taps")})
        for ring in state["rings"]
    ]
    return leaves, rings
