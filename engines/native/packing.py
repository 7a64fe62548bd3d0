"""How a product's weight lies in memory: in panels, each as wide as what registers hold.

A panel has `vectors` vectors of columns, row after row of the weight, so that the kernel reads it
from front to back. The last panel may be narrower; its last vector is filled up with zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rtsep.engines.native.processor import Processor

_MOST_VECTORS = 8


@dataclass(frozen=True)
class Tiles:
    """A product's rows in blocks of at most `rows`, its columns in panels of `vectors`."""

    rows: int
    vectors: int
    width: int

    @property
    def columns(self) -> int:
        return self.vectors * self.width

    def panels(self, n: int) -> list[tuple[int, int]]:
        """(first column, vectors) of each panel of `n` columns."""
        found = []
        for start in range(0, n, self.columns):
            left = -(-(n - start) // self.width)
            found.append((start, min(self.vectors, left)))
        return found


def tiles(m: int, n: int, processor: Processor) -> Tiles:
    """Blocks of nearly equal size whose sums, with a row of the panel, fit the registers."""
    most = 8 if processor.registers >= 32 else 4
    rows = -(-m // -(-m // most))
    fitting = (processor.registers - 2) // (rows + 1)
    needed = -(-n // processor.width)
    vectors = max(1, min(fitting, _MOST_VECTORS))
    return Tiles(rows, -(-needed // -(-needed // vectors)), processor.width)


def pack(weight: np.ndarray, tiles: Tiles, kind: str) -> np.ndarray:
    """(k, n) float32 to the panels, one after the other, flat; `kind` is "f32", "bf16" or "i8".

    Of bfloat16, given as its bits, two lines are interleaved: each column has two that are summed.
    Of 8 bits there are four, and a line before all others takes back what the rows' 128 adds.
    """
    if kind == "i8":
        return _whole(weight, tiles)
    k, n = weight.shape
    panels = []
    for start, vectors in tiles.panels(n):
        columns = vectors * tiles.width
        panel = np.zeros((k, columns), np.float32)
        chosen = weight[:, start : start + columns]
        panel[:, : chosen.shape[1]] = chosen
        if kind == "bf16":
            panel = _bfloat16(panel).reshape(k // 2, 2, columns).transpose(0, 2, 1)
        panels.append(panel.ravel())
    return np.concatenate(panels)


def column_scales(weight: np.ndarray) -> np.ndarray:
    """(n,) of a (k, n) weight: its largest value in a column is 127 of them."""
    largest = np.abs(weight).max(0)
    return np.where(largest > 0, largest / 127, 1).astype(np.float32)


def _whole(weight: np.ndarray, tiles: Tiles) -> np.ndarray:
    k, n = weight.shape
    lines = -(-k // 4)
    whole = np.zeros((4 * lines, n + tiles.columns), np.int8)
    whole[:k, :n] = np.rint(weight / column_scales(weight))
    panels = []
    for start, vectors in tiles.panels(n):
        columns = vectors * tiles.width
        panel = whole[:, start : start + columns]
        back = -128 * panel.sum(0, dtype=np.int32)
        panels.append(back.astype(np.int32).view(np.uint8))
        interleaved = panel.reshape(lines, 4, columns).transpose(0, 2, 1)
        panels.append(np.ascontiguousarray(interleaved).view(np.uint8).ravel())
    return np.concatenate(panels)


def _bfloat16(values: np.ndarray) -> np.ndarray:
    """The upper halves of float32 numbers, rounded to the nearest, and to even ones between."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
