"""Latency, part by part, in samples of the device's rate; milliseconds are only for printing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

from rtsep.errors import WrongCall


@dataclass(frozen=True)
class Latency:
    """By how much the output is late against the input.

    `resample` and `model` may be fractions; their sum is an integer, as all other parts are.
    `padding` is what a model waits for another one of the same run, whose latency is longer.
    `delivery` is what the host hands over at once (at least a block). `told`: whether the host says
    what the device's own parts are; where it doesn't they count as 0, and the total lacks them.
    `clocks`: the way from an input to an output that has another clock.
    """

    rate: int
    block: int
    delivery: int
    rebuffer: int
    queue: int
    resample: Fraction
    model: Fraction
    padding: int = 0
    device_in: int = 0
    device_out: int = 0
    told: bool = True
    clocks: int = 0

    @property
    def internal(self) -> int:
        """What the callback subtracts from its clock."""
        return int(self.rebuffer + self.queue + self.resample + self.model + self.padding)

    @property
    def total(self) -> int:
        return self.device_in + self.clocks + self.internal + self.device_out

    @property
    def deadline(self) -> int:
        """What the worker has for all the steps that one delivery calls for."""
        return self.delivery * (self.queue // self.delivery)

    def parts(self) -> dict[str, Fraction | int]:
        """Every part by name, in the order in which sound passes through; then the two sums.

        `clocks` only where there are two, `padding` where there is some.
        """
        first = ("device_in", "clocks") if self.clocks else ("device_in",)
        padding = ("padding",) if self.padding else ()
        names = (*first, "rebuffer", "queue", "resample", "model", *padding, "device_out")
        return {name: getattr(self, name) for name in (*names, "internal", "total")}

    def milliseconds(self, samples: Fraction | int | float) -> float:
        return float(1000 * samples / self.rate)

    def as_json(self) -> dict[str, int | float]:
        """`parts`, with integers where they are."""
        return {k: int(v) if v == int(v) else float(v) for k, v in self.parts().items()}


def rebuffer(computable: Callable[[int], int], delay: int, period: int, block: int) -> int:
    """What whole chunks cost: how late, beyond `delay`, the newest output can be.

    The largest (delivered − computable − delay) at the ends of blocks, over one period of
    resampler and chunks; for an integer chunk C and no resampling that is C − gcd(block, C).
    For blocks of varying size take `block = 1`.
    """
    cycle = lcm(period, block)
    first = -(-(delay + period) // cycle) * cycle  # past the start, where nothing is there yet
    return max(n - computable(n) for n in range(first, first + cycle, block)) - delay


def default_queue(
    rate: int, block: int, delivery: int, chunk: Fraction, tuned_ms: float | None = None
) -> int:
    """What was tuned, else a chunk's time (`chunk` in device samples) and 2 ms to wake up in.

    A multiple of the block, and no less than what the host delivers at once.
    """
    wanted = chunk + Fraction(rate, 500)
    if tuned_ms is not None:
        wanted = Fraction(round(tuned_ms * rate), 1000)
    least = max(block, delivery, wanted)
    return int(-(-least // block)) * block


def check_queue(queue: int, block: int, delivery: int) -> int:
    """`queue`, or `WrongCall`."""
    least = -(-max(block, delivery) // block) * block
    if queue < least or queue % block:
        raise WrongCall(
            f"queue {queue}: it is a multiple of the block ({block} samples), at least {least}"
        )
    return queue
