"""The reference: the model's own step, run by PyTorch as it is written."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from rtsep.engines.protocol import Progress, StreamSpec, check_buffers, check_rows, paused_rows
from rtsep.engines.source import Source
from rtsep.errors import Failure
from rtsep.models.base import Separator
from rtsep.streaming import select_rows

PRECISIONS = ("float32", "float64")


def build(source: Source, chunk: int, batch: int, precision: str, progress: Progress) -> Eager:
    network = source.network().to(getattr(torch, precision))
    return Eager(network, source.stream("eager", chunk, batch, precision), precision)


class Eager:
    """Computes in `dtype`. `process` takes and fills arrays of float32 or float64."""

    def __init__(self, network: Separator, spec: StreamSpec, dtype: str) -> None:
        self.spec = spec
        self._network: Separator | None = network
        self._dtype = getattr(torch, dtype)
        self._state, _ = network.initial(spec.batch)

    def process(
        self, mixture: np.ndarray, stems: np.ndarray, active: Sequence[bool] | None = None
    ) -> None:
        if self._network is None:
            raise Failure("this engine was closed")
        check_buffers(self.spec, mixture, stems)
        paused = paused_rows(self.spec, active)
        with torch.inference_mode():
            x = torch.from_numpy(mixture).to(self._dtype).transpose(1, 2)
            y, following = self._network.step(x, self._state)
            if paused:
                following = select_rows(torch.tensor(active), following, self._state)
            self._state = following
            np.copyto(stems, y.permute(0, 2, 3, 1).numpy(), casting="same_kind")
        stems[paused] = 0

    def reset(self, rows: Sequence[int] | None = None) -> None:
        if self._network is None:
            raise Failure("this engine was closed")
        fresh, _ = self._network.initial(self.spec.batch)
        if rows is not None:
            check_rows(self.spec, rows)
            chosen = torch.tensor([row in rows for row in range(self.spec.batch)])
            fresh = select_rows(chosen, fresh, self._state)
        self._state = fresh

    def close(self) -> None:
        self._network = self._state = None
