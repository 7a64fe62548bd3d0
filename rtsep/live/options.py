"""What a run is asked to be. Light: nothing is loaded to make one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from rtsep.errors import WrongCall
from rtsep.live.scene import Scene, check_stems

DEFAULT_BLOCK = 64


@dataclass(frozen=True)
class Options:
    """What a run is to be. Lengths are in samples of the device's rate, `chunk` of the model's.

    `engine`, `chunk` and `precision` are those of `rtsep.engines.build`.

    `blocks`: one size, or a series of sizes that the simulated clock repeats; None: the host's own,
    or the usual one on the simulated clock. `gains` are factors by stem, `routes` the output
    channels (from 0) by stem or "mix"; without any gain, solo, mute or route the model's primary
    stem is soloed. `wet` (0 to 1) and `bypass`: see `Controls`. `ceiling` is the limiter's (full
    scale is 1; None: there is none), `input_gain` a factor before everything else. Over the first
    `fade_up` seconds the output rises (None: one where a device is played to). After `idle` seconds
    of silence the worker rests until there is sound again (0: never). `record` is a folder to
    record to from the start; with `recordable` recording may begin under way, and the rings hold as
    much as for that. `full_band`: what lies above the model's band is shared among the stems, or
    all the remainder's. `on_device_loss`: "go-on" on a simulated clock until the devices are back,
    or "stop". `factory` ("module:function", called with `channels` and `chunk`) makes the engine in
    place of `model`. When `fallback_share` of the blocks of 2 s were late, the model `fallback`
    takes over, until `fallback_quiet` seconds have gone by without a late one.
    """

    model: str = "convtasnet"
    engine: str = "auto"
    chunk: int | None = None
    precision: str | None = None
    blocks: int | tuple[int, ...] | None = None
    queue: int | None = None
    paced: bool = True
    gains: dict[str, float] = field(default_factory=dict)
    solo: tuple[str, ...] = ()
    mute: tuple[str, ...] = ()
    wet: float = 1.0
    bypass: bool = False
    routes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    on_miss: str = "dry"
    ceiling: float | None = 1.0
    input_gain: float = 1.0
    fade_up: float | None = None
    idle: float = 0.0
    limit: int | None = None
    full_band: bool = False
    record: str | Path | None = None
    recordable: bool = False
    overwrite: bool = False
    on_device_loss: str = "go-on"
    factory: str | None = None
    fallback: str | None = None
    fallback_share: float = 0.05
    fallback_quiet: float = 30.0

    @property
    def scene(self) -> Scene:
        """Where the controls stand when the run begins."""
        return Scene(self.gains, self.mute, self.solo, self.wet, self.bypass)

    def job(self, rate: int, channels: int) -> dict:
        """What a worker is told to build for a run at this rate, of so many channels."""
        names = ("model", "engine", "chunk", "precision", "factory", "full_band")
        what = {name: getattr(self, name) for name in names}
        return what | {"rate": rate, "channels": channels}

    def check(self) -> None:
        """Raises `WrongCall` for what can't be, before anything is opened."""
        if self.on_miss not in ("dry", "silence"):
            raise WrongCall(f"--on-miss {self.on_miss}: dry or silence")
        if self.on_device_loss not in ("go-on", "stop"):
            raise WrongCall(f"--on-device-loss {self.on_device_loss}: go-on or stop")
        if isinstance(self.blocks, int) and not 1 <= self.blocks <= 16384:
            raise WrongCall(f"--block {self.blocks}: between 1 and 16384 samples")
        if not 0 <= self.idle < math.inf:
            raise WrongCall(f"--idle {self.idle:g}: 0 or more seconds")
        if not 0 < self.fallback_share <= 1:
            raise WrongCall(
                f"--fallback-share {self.fallback_share:g}: more than 0, at most 1 (all blocks)"
            )
        if not 0 < self.fallback_quiet < math.inf:
            raise WrongCall(f"--fallback-quiet {self.fallback_quiet:g}: more than 0 seconds")
        if self.fallback is not None and not self.paced:
            raise WrongCall("--fallback: the free clock waits for its worker, which is never late")
        if self.ceiling is not None and not 0 < self.ceiling <= 1:
            raise WrongCall(f"--limit: a ceiling of {self.ceiling:g}; at most 1, full scale")

    def check_stems(self, model: str, stems: tuple[str, ...]) -> None:
        """Raises `WrongCall` where a stem is named that the model lacks."""
        routed = (name for name in self.routes if name != "mix")
        check_stems((*self.scene.stems, *routed), model, stems)
