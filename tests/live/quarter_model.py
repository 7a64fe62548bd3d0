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
    def __init__(self, channels: int, chunk: int | None):
        chunk = chunk or HOP
        self.spec = StreamSpec(
            model="quarter",
            rate=RATE,
            channels=1,
            stems=("voice", "background"),
            primary="voice",
            remainder="background",
            chunk=chunk,
            batch=channels,
            latency=HOP,
            hop=HOP,
            precision="float32",
            device="cpu",
            engine="test",
            digest="",
        )
        self._window = np.sin(np.pi * (np.arange(2 * HOP) + 0.5) / (2 * HOP))
        self.reset()

    def reset(self, rows=None):
        if rows is None:
            self._frame = np.zeros((self.spec.batch, 2 * HOP))
            self._tail = np.zeros((self.spec.batch, 2, HOP))
        else:
            self._frame[rows], self._tail[rows] = 0, 0

    def process(self, mixture, stems, active=None):
        for k in range(0, self.spec.chunk, HOP):
            self._frame = np.concatenate([self._frame[:, HOP:], mixture[:, 0, k : k + HOP]], 1)
            spectrum = np.fft.rfft(self._frame * self._window)
            parts = np.fft.irfft(spectrum[:, None] * MASKS[:, None]) * self._window
            stems[:, :, 0, k : k + HOP] = self._tail + parts[..., :HOP]
            self._tail = parts[..., HOP:]

    def close(self):
        pass


class _Slow(Masks):
    """Every 50th step takes 40 ms."""

    _steps = 0

    def process(self, mixture, stems, active=None):
        super().process(mixture, stems, active)
        self._steps += 1
        if self._steps % 50 == 0 and self._steps > 100:
            time.sleep(0.04)


class _Starved(Masks):
    """Every step takes longer than its sound lasts."""

    def process(self, mixture, stems, active=None):
        super().process(mixture, stems, active)
        time.sleep(0.006)


class _Poisoned(Masks):
    """Every 60th step gives NaN."""

    _steps = 0

    def process(self, mixture, stems, active=None):
        super().process(mixture, stems, active)
        self._steps += 1
        if self._steps % 60 == 0:
            stems[0, 0, 0, 3] = np.nan


class _Crashing(Masks):
    """Raises at its 150th step."""

    _steps = 0

    def process(self, mixture, stems, active=None):
        super().process(mixture, stems, active)
        self._steps += 1
        if self._steps == 150:
            raise ValueError("out of masks")


class _Plain(Masks):
    """The same parts, without frames: cheap enough for hours of sound."""

    def process(self, mixture, stems, active=None):
        stems[:, :, 0] = mixture * MASKS[:, None]


class _Leaking(_Plain):
    """Keeps a copy of all that it is given."""

    def process(self, mixture, stems, active=None):
        super().process(mixture, stems, active)
        self._kept = [*getattr(self, "_kept", []), mixture.copy()]


def build(channels, chunk):
    return Masks(channels, chunk)


def plain(channels, chunk):
    return _without_latency(_Plain(channels, chunk))


def leaking(channels, chunk):
    return _without_latency(_Leaking(channels, chunk))


def _without_latency(engine):
    engine.spec = replace(engine.spec, latency=0)
    return engine


def slow(channels, chunk):
    return _Slow(channels, chunk)


def starved(channels, chunk):
    return _Starved(channels, chunk)


def poisoned(channels, chunk):
    return _Poisoned(channels, chunk)


def crashing(channels, chunk):
    return _Crashing(channels, chunk)


def refusing(channels, chunk):
    raise KeyError("no masks today")


def slow_to_return(channels, chunk):
    """From the second time on it takes half a minute (MARK: a file that says there was one)."""
    mark = Path(os.environ["MARK"])
    if mark.exists():
        time.sleep(30)
    mark.touch()
    return Masks(channels, chunk)
