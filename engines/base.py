"""What every engine's calls have in common: they are checked, and rows that pause are silent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from rtsep.engines.protocol import StreamSpec
from rtsep.errors import Failure, WrongCall


class Base(ABC):
    """An `Engine`, but for its step (`_advance`), its state (`_restart`) and its memory (`close`).

    Calls raise `Failure` once it was closed, and `WrongCall` for what it does not take.
    """

    def __init__(self, spec: StreamSpec) -> None:
        self.spec = spec
        self._closed = False
        # Compared at every step, when the interpreter has not run for a chunk's time and all that
        # it reads has left the caches: so it is one comparison of what is there already.
        self._takes = (spec.mixture_shape, spec.stems_shape, np.dtype(np.float32))

    def process(
        self, mixture: np.ndarray, stems: np.ndarray, active: Sequence[bool] | None = None
    ) -> None:
        if self._closed or (mixture.shape, stems.shape, stems.dtype) != self._takes:
            self._check_call(mixture, stems)
        if active is None:
            self._advance(mixture, stems, ())
            return
        paused = self._paused(active)
        if len(paused) < self.spec.batch:
            self._advance(mixture, stems, paused)
        for row in paused:
            stems[row] = 0

    def reset(self, rows: Sequence[int] | None = None) -> None:
        self._check_open()
        batch = self.spec.batch
        rows = range(batch) if rows is None else rows
        for row in rows:
            if not 0 <= row < batch:
                raise WrongCall(f"row {row}: a batch of {batch} has rows 0 to {batch - 1}")
        self._restart(rows)

    def close(self) -> None:
        """An engine that holds more than its spec lets go of it here."""
        self._closed = True

    @abstractmethod
    def _advance(self, mixture: np.ndarray, stems: np.ndarray, paused: Sequence[int]) -> None:
        """A step: `stems` gets all rows, and the state of all is the next but for `paused`."""

    @abstractmethod
    def _restart(self, rows: Sequence[int]) -> None:
        """Those rows are as new at the next step."""

    def _check_open(self) -> None:
        if self._closed:
            raise Failure("this engine was closed")

    def _check_call(self, mixture: np.ndarray, stems: np.ndarray) -> None:
        """Refuses what numpy would silently stretch or cut off; stems of float64 are fine."""
        self._check_open()
        shapes = (mixture.shape, stems.shape)
        if shapes != self._takes[:2] or stems.dtype.kind != "f":
            raise WrongCall(
                f"mixture {mixture.shape} and stems {stems.shape} of {stems.dtype}: this engine "
                f"takes {self.spec.mixture_shape} and gives {self.spec.stems_shape} of float32"
            )

    def _chosen(self, rows: Sequence[int]) -> list[bool]:
        return [row in rows for row in range(self.spec.batch)]

    def _paused(self, active: Sequence[bool]) -> list[int]:
        if len(active) != self.spec.batch:
            raise WrongCall(
                f"active has {len(active)} rows, this engine's batch has {self.spec.batch}"
            )
        return [row for row, running in enumerate(active) if not running]
