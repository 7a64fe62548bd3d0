"""How a run is doing, read from its block by whoever wants to know."""

from __future__ import annotations

import numpy as np

from rtsep.live.description import described, seal
from rtsep.live.histogram import quantile
from rtsep.live.layout import (
    ACTIVE,
    BAD_INPUT,
    BINS,
    BUSY,
    CALLBACK_HISTOGRAM,
    CALLBACK_MAX,
    CALLBACKS,
    CAUSES,
    CHANNELS,
    CLIPPED_IN,
    CLIPPED_OUT,
    IDLED,
    IN_PEAK,
    JUMPS,
    LIMITED,
    MISSES,
    OUT_PEAK,
    PROCESSED,
    RATE,
    RESETS,
    RESTING,
    STEMS,
    STEMS_A,
    STEMS_B,
    STEP_HISTOGRAM,
    STEP_MAX,
    STEPS,
    XRUNS,
    Block,
)
from rtsep.live.ring import OK, Ring

QUANTILES = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
FLOOR = -120.0  # dBFS: what silence is shown as


class Status:
    """A reader of a block: times in ms, levels in dBFS, counts since the run began."""

    def __init__(self, block: Block):
        self._block = block
        self._rings = [Ring(block, STEMS_A), Ring(block, STEMS_B)]
        self._window = int(block.i64[RATE]) // 10
        self._slots: tuple[int, list[int] | None] = (-1, None)

    def steps(self) -> dict[str, float]:
        """p50, p99, p999 and max of the engine's steps."""
        return self._times(STEP_HISTOGRAM, STEP_MAX)

    def callbacks(self) -> dict[str, float]:
        """p50, p99, p999 and max of the callback's own run time."""
        return self._times(CALLBACK_HISTOGRAM, CALLBACK_MAX)

    def misses(self) -> dict[str, int]:
        """Blocks without stems, by cause, where there were any."""
        counts = self._block.i64[MISSES : MISSES + len(CAUSES)]
        return {cause: int(n) for cause, n in zip(CAUSES, counts, strict=True) if n}

    def counts(self) -> dict[str, int]:
        h = self._block.i64
        return {
            "callbacks": int(h[CALLBACKS]),
            "steps": int(h[STEPS]),
            "xruns": int(h[XRUNS]),
            "jumps": int(h[JUMPS]),
            "resets": int(h[RESETS]),
            "bad_input": int(h[BAD_INPUT]),
            "clipped_input": int(h[CLIPPED_IN]),
            "clipped_output": int(h[CLIPPED_OUT]),
            "limited": int(h[LIMITED]),
        }

    def rested(self) -> float:
        """For how many seconds of silence the worker did not step."""
        return float(self._block.i64[IDLED] / self._block.i64[RATE])

    def real_time_factor(self) -> float:
        """Compute time over audio time, resampling included; 0 where nothing was computed."""
        h = self._block.i64
        if not h[PROCESSED]:
            return 0.0
        return float(h[BUSY]) / 1e9 / (float(h[PROCESSED]) / float(h[RATE]))

    def resting(self) -> bool:
        """Whether the worker waits for sound, and does not step."""
        return bool(self._block.i64[RESTING])

    def peaks(self) -> tuple[float, float]:
        """Of input and output: the peaks of late, falling by 20 dB a second."""
        x = self._block.f64[[IN_PEAK, OUT_PEAK]]
        return tuple(float(db) for db in 20 * np.log10(np.maximum(x, 10 ** (FLOOR / 20))))

    def levels(self) -> list[float]:
        """Of each stem, over the last tenth of a second, before gains: RMS over all channels."""
        h = self._block.i64
        slots, ring = self._stems(), self._rings[min(int(h[ACTIVE]), 1)]
        n = min(self._window, ring.written)
        status, frames, _ = ring.read(ring.written - n, n)
        if status != OK or not n:
            return [FLOOR] * len(slots)
        by_stem = frames.reshape(n, -1, h[CHANNELS])[:, slots]
        power = (by_stem.astype(np.float64) ** 2).mean((0, 2))
        return [float(level) for level in 10 * np.log10(np.maximum(power, 10 ** (FLOOR / 10)))]

    def _stems(self) -> list[int]:
        """The slots of the stems that are heard, in the model's order."""
        sealed = seal(self._block)
        if self._slots[0] != sealed:
            there = list(range(int(self._block.i64[STEMS])))
            self._slots = (sealed, described(self._block).get("slots", there))
        return self._slots[1]

    def _times(self, histogram: int, largest: int) -> dict[str, float]:
        counts = self._block.i64[histogram : histogram + BINS].copy()
        most = int(self._block.i64[largest])
        times = {name: min(quantile(counts, q), most) / 1e6 for name, q in QUANTILES.items()}
        return times | {"max": most / 1e6}
