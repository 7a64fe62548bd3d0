"""How long steps took, as a histogram against what they may take."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from rtsep.live.histogram import LEAST, PER_OCTAVE
from rtsep.live.layout import BLOCK, Block


def budget(block: Block, facts: Mapping) -> float:
    """What one step may take, in ms: the deadline's share where a delivery calls for several."""
    delivery = (facts["device"] or {}).get("delivery") or int(block.i64[BLOCK])
    chunk = facts["chunk"] * facts["rate"] / facts["model_rate"]
    return facts["deadline_ms"] / max(1, math.ceil(delivery / chunk))


def span(counts: np.ndarray, budget: float) -> tuple[float, float]:
    """From and to which time, in ms, columns are drawn: past the budget, and all that was."""
    there = np.flatnonzero(counts)
    low, high = budget / 32, budget * 2
    if len(there):
        low, high = min(low, _edge(there[0] - 1)), max(high, _edge(there[-1] + 1))
    return low, high


def columns(counts: np.ndarray, low: float, high: float, n: int) -> np.ndarray:
    """(n,) counts between two times in ms, in columns of equal ratios.

    A bin counts where its middle lies.
    """
    middles = LEAST * 2 ** ((np.arange(len(counts)) - 0.5) / PER_OCTAVE) / 1e6
    where = np.clip((np.log(middles / low) / math.log(high / low) * n).astype(int), 0, n - 1)
    return np.bincount(where, counts, n)


def column_of(ms: float, low: float, high: float, n: int) -> int:
    """In which of n columns a time lies."""
    return min(n - 1, max(0, int(math.log(ms / low) / math.log(high / low) * n)))


def heights(columns: np.ndarray) -> np.ndarray:
    """From 0 to 1, by the logarithm: one late step among a million is to be seen."""
    most = columns.max(initial=0)
    return np.log1p(columns) / math.log1p(most) if most else np.zeros(len(columns))


def _edge(bin: int) -> float:
    return LEAST * 2 ** (bin / PER_OCTAVE) / 1e6
