"""What a run is asked to be. Light: nothing is loaded to make one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rtsep.errors import WrongCall

DEFAULT_BLOCK = 64


@dataclass(frozen=True)
class Options:
    """What a run is to be. Lengths are in samples of the device's rate, `chunk` of the model's.

    `blocks`: one size, or a series of sizes that the simulated clock repeats. `gains` are factors
    by stem; without any gain, solo or mute the model's primary stem is soloed. `factory`
    ("module:function", called with `channels` and `chunk`) makes the engine in place of `model`.
    """

    model: str = "convtasnet"
    engine: str = "auto"
    chunk: int | None = None
    blocks: int | tuple[int, ...] = DEFAULT_BLOCK
    queue: int | None = None
    paced: bool = True
    gains: dict[str, float] = field(default_factory=dict)
    solo: tuple[str, ...] = ()
    mute: tuple[str, ...] = ()
    on_miss: str = "dry"
    limit: int | None = None
    record: str | Path | None = None
    overwrite: bool = False
    factory: str | None = None

    def check_stems(self, model: str, stems: tuple[str, ...]) -> None:
        """Raises `WrongCall` where a stem is named that the model lacks."""
        for name in (*self.gains, *self.solo, *self.mute):
            if name not in stems:
                raise WrongCall(f"no stem {name!r}: {model} has {', '.join(stems)}")
