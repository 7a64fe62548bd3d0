"""What every engine is: chunk in, stems out, with a state per row of the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rtsep.errors import Failure

Progress = Callable[[str], None]
"""Called with a few words on what a build is doing, whenever that changes."""


class Unexportable(Failure):
    """No engine that runs an exported step can run this network."""


@dataclass(frozen=True)
class StreamSpec:
    """What an engine was built for. `chunk`, `hop` and `latency` are samples at `rate` (Hz).

    `reason` says why this engine: asked for, tuned, the default, or in place of which and why.
    `queue_ms` is the shortest queue that ran without a miss when it was tuned.
    """

    model: str
    rate: int
    channels: int
    stems: tuple[str, ...]
    primary: str
    remainder: str
    chunk: int
    batch: int
    latency: int
    hop: int
    precision: str
    device: str
    engine: str
    digest: str
    reason: str = "asked for"
    queue_ms: float | None = None

    @property
    def mixture_shape(self) -> tuple[int, int, int]:
        return self.batch, self.channels, self.chunk

    @property
    def stems_shape(self) -> tuple[int, int, int, int]:
        return self.batch, len(self.stems), self.channels, self.chunk


class Engine(Protocol):
    """One thread at a time may call it; two engines share nothing.

    `process` reads `mixture` (batch, channels, chunk) and writes `stems` (batch, stems, channels,
    chunk), float32 and C-contiguous. Stream sample `i` of the stems is sample `i - latency` of the
    mixture, separated. Rows that are not `active` (batch,) pause: their state stays as it is, and
    their stems are silent. `reset` makes all rows as new, or just those given.

    A compiled engine has a property `call` too: see `calls.py`.
    """

    spec: StreamSpec

    def process(
        self, mixture: np.ndarray, stems: np.ndarray, active: Sequence[bool] | None = None
    ) -> None: ...

    def reset(self, rows: Sequence[int] | None = None) -> None: ...

    def close(self) -> None: ...
