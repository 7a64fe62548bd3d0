"""Engines for the worker process to load: a perfect-reconstruction model with fixed masks.

Overlapping frames of two hops under a root-Hann window, twice, with masks 1/4 and 3/4 between
analysis and synthesis: what comes out is a quarter and three quarters of what came in, one hop
late.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from rtsep.engines.protocol import StreamSpec

RATE, HOP = 16000, 64
MASKS = np.array([0.25, 0.75])


class Masks:
    name, hop, masks = "quarter", HOP, MASKS
    stems = ("voice", "background")

    def __init__(self, channels: int, chunk: int | None):
        chunk = chunk or self.hop
        self.spec = StreamSpec(
            model=self.name,
            rate=RATE,
            channels=1,
            stems=self.stems,
            primary=self.stems[0],
            remainder=self.stems[-1],
            chunk=chunk,
            batch=channels,
            latency=self.hop,
            hop=self.hop,
            precision="float32",
            device="cpu",
            engine="test",
            digest="",
        )
        n = 2 * self.hop
        self._steps = 0
        self._window = np.sin(np.pi * (np.arange(n) + 0.5) / n)
        self.reset()

    def reset(self, rows=None):
        batch, hop = self.spec.batch, self.hop
        if rows is None:
            self._frame = np.zeros((batch, 2 * hop))
            self._tail = np.zeros((batch, len(self.stems), hop))
        else:
            self._frame[rows], self._tail[rows] = 0, 0

    def process(self, mixture, stems, active=None):
        self._steps += 1
        masks, hop = np.array(self.masks), self.hop
        for k in range(0, self.spec.chunk, hop):
            self._frame = np.concatenate([self._frame[:, hop:], mixture[:, 0, k : k + hop]], 1)
            spectrum = np.fft.rfft(self._frame * self._window)
            parts = np.fft.irfft(spectrum[:, None] * masks[:, None]) * self._window
            stems[:, :, 0, k : k + hop] = self._tail + parts[..., :hop]
            self._tail = parts[..., hop:]

    def close(self):
        pass


class _Slow(Masks):
    """Every 50th step takes 40 ms."""

    def process(self, mixture, stems, active=None):
        super().process(mixture, stems, active)
        if self._steps % 50 == 0 and self._steps > 100:
            time.sleep(0.04)


class _Starved(Masks):
    """Every step takes longer than its sound lasts."""

    def process(self, mixture, stems, active=None):
        super().process(mixture, stems, active)
        time.sleep(0.006)


class _Overloaded(_Starved):
    """Starved while there is a file MARK, and from the first second on."""

    def process(self, mixture, stems, active=None):
        slow = self._steps >= 250 and Path(os.environ["MARK"]).exists()
        (_Starved if slow else Masks).process(self, mixture, stems, active)


class _Poisoned(Masks):
    """Every 60th step gives NaN."""

    def process(self, mixture, stems, active=None):
        super().process(mixture, stems, active)
        if self._steps % 60 == 0:
            stems[0, 0, 0, 3] = np.nan


class _Crashing(Masks):
    """Raises at its 150th step."""

    def process(self, mixture, stems, active=None):
        super().process(mixture, stems, active)
        if self._steps == 150:
            raise ValueError("out of masks")


class _Plain(Masks):
    """The same parts, without frames: cheap enough for hours of sound, and not late."""

    def __init__(self, channels: int, chunk: int | None):
        super().__init__(channels, chunk)
        self.spec = replace(self.spec, latency=0)

    def process(self, mixture, stems, active=None):
        stems[:, :, 0] = mixture * MASKS[:, None]


class _Leaking(_Plain):
    """Keeps a copy of all that it is given."""

    def process(self, mixture, stems, active=None):
        super().process(mixture, stems, active)
        self._kept = [*getattr(self, "_kept", []), mixture.copy()]


class _Half(Masks):
    name, masks = "half", (0.5, 0.5)


class _Long(_Half):
    """Four times as late."""

    name, hop = "long", 4 * HOP


class _Trio(Masks):
    name, stems, masks = "trio", ("drums", "bass", "voice"), (0.2, 0.3, 0.5)


class _Six(Masks):
    name, stems, masks = "six", tuple("abcdef"), (0.1, 0.1, 0.2, 0.2, 0.2, 0.2)


class _Band(Masks):
    name, stems, masks = "band", ("voice", "drums", "background"), (0.2, 0.3, 0.5)


def refusing(channels, chunk):
    raise KeyError("no masks today")


def slow_to_return(channels, chunk):
    """From the second time on it takes half a minute (MARK: a file that says there was one)."""
    mark = Path(os.environ["MARK"])
    if mark.exists():
        time.sleep(30)
    mark.touch()
    return Masks(channels, chunk)


# As runs are told of them: "quarter_model:build".
build, plain, leaking = Masks, _Plain, _Leaking
slow, starved, overloaded, poisoned, crashing = _Slow, _Starved, _Overloaded, _Poisoned, _Crashing
half, long, trio, six, band = _Half, _Long, _Trio, _Six, _Band
