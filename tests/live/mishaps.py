"""A tone through runs in which something happens: what holds whatever it was."""

from __future__ import annotations

import numpy as np
from live_runs import assert_sums_to_mix, late

RATE = 48000
FADE = RATE // 200
# 40 ms of queue: only what a test does to the worker makes it late, and no busy machine.
BASE = {"solo": ("voice",), "queue": 1920}
TIGHT = BASE | {"queue": None}


def tone(seconds):
    t = np.arange(int(seconds * RATE)) / RATE
    return (0.5 * np.sin(2 * np.pi * 220 * t))[:, None].astype(np.float32)


def assert_no_click(y):
    """The tone moves by 0.0144 a sample, forwards under backwards by 1.75 of that; fades by
    0.5 · 0.75 · π / 2 / 240 for each of the two that may overlap."""
    step = 0.5 * 2 * np.pi * 220 / RATE
    fade = 0.5 * 0.75 * np.pi / 2 / FADE
    assert np.abs(np.diff(y[:, 0])).max() < 2.5 * step + 2 * fade


def settled(r, x):
    """Samples at which voice or dry is heard (not a fade between them), as two masks."""
    dry = late(x, r.latency)[: len(r.heard)]
    return np.abs(r.heard - 0.25 * dry) < 1e-3, np.abs(r.heard - dry) < 1e-3


def check(r, x, whole=True, least=0.4):
    """What holds after any mishap: no click, aligned before and after, recordings sum up. `whole`:
    the run went on to the end of x; `least`: of it is heard what the quarter model or dry is."""
    assert not whole or len(r.heard) == len(x) + r.latency
    assert_no_click(r.heard)
    assert np.array_equal(r.files["mix"], late(x, r.latency)[: len(r.heard)])
    assert_sums_to_mix(r.files)
    assert_no_click(r.files["voice"])
    voice, dry = settled(r, x)
    assert (voice | dry).mean() > least
    return voice, dry
