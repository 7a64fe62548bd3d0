"""The reference: the model's own step, run by PyTorch as it is written."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from rtsep.engines.base import Base
from rtsep.engines.protocol import Progress, StreamSpec
from rtsep.engines.source import Source
from rtsep.models.base import Separator
from rtsep.streaming import select_rows

PRECISIONS = ("float32", "float64")


def build(source: Source, chunk: int, batch: int, precision: str, progress: Progress) -> Eager:
    network = source.network().to(getattr(torch, precision))
    return Eager(network, source.stream("eager", chunk, batch, precision), precision)


class Eager(Base):
    """Computes in `dtype`. `process` takes and fills arrays of float32 or float64."""

    def __init__(self, network: Separator, spec: StreamSpec, dtype: str) -> None:
        super().__init__(spec)
        self._network: Separator | None = network
        self._dtype = getattr(torch, dtype)
        self._state, _ = network.initial(spec.batch)

    def close(self) -> None:
        super().close()
        self._network = self._state = None

    def _advance(self, mixture: np.ndarray, stems: np.ndarray, paused: Sequence[int]) -> None:
        with torch.inference_mode():
            x = torch.from_numpy(mixture).to(self._dtype).transpose(1, 2)
            y, following = self._network.step(x, self._state)
            if paused:
                following = select_rows(torch.tensor(self._chosen(paused)), self._state, following)
            self._state = following
            np.copyto(stems, y.permute(0, 2, 3, 1).numpy(), casting="same_kind")

    def _restart(self, rows: Sequence[int]) -> None:
        fresh, _ = self._network.initial(self.spec.batch)
        self._state = select_rows(torch.tensor(self._chosen(rows)), fresh, self._state)
