"""When the learning rate is what, and when a training ends."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from rtsep.training.recipe import Optimiser


@dataclass
class Schedule:
    """Warm-up, then constant, then a fall to zero over the last part of the training.

    The training is `optimiser.steps` long, or, with `minutes`, that time from now on; with
    `decay_now` the fall takes all that is left.
    """

    optimiser: Optimiser
    first: int = 0
    minutes: float | None = None
    decay_now: bool = False
    started: float = field(default_factory=time.monotonic)

    def progress(self, step: int) -> float:
        """0 at the beginning, 1 at the end; with `decay_now` it begins with this run."""
        if self.minutes is not None:
            return (time.monotonic() - self.started) / (60 * self.minutes)
        first = self.first if self.decay_now else 0
        return (step - first) / max(self.optimiser.steps - first, 1)

    def decaying(self, progress: float) -> bool:
        return self.decay_now or progress > 1 - self.optimiser.decay

    def rate(self, step: int, progress: float) -> float:
        """The learning rate of a step."""
        part = 1.0 if self.decay_now else self.optimiser.decay
        left = min(max(1 - progress, 0.0) / part, 1.0) if part else 1.0
        warm = min((step + 1) / max(self.optimiser.warmup, 1), 1.0)
        return self.optimiser.rate * warm * left
