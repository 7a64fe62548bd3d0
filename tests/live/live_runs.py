"""Whole runs for tests: a real session with a real worker process, on the simulated clock."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import soundfile

from rtsep.live.feeds import Array, Collected
from rtsep.live.session import Options, Session


@dataclass
class Run:
    heard: np.ndarray  # (samples, channels)
    summary: dict
    latency: int  # internal, samples
    files: dict[str, np.ndarray]  # recorded, by name


def run(x, rate, options: Options, meanwhile=lambda session: None) -> Run:
    """Plays x (samples, channels); `meanwhile(session)` is called once it has begun."""
    sink = Collected()
    with Session(Array(x), sink, rate, x.shape[1], options) as session:
        session.start()
        meanwhile(session)
        assert session.join(60)
        summary = session.finish()
        latency = session.latency.internal
    return Run(sink.frames, summary, latency, recorded(options.record))


def wait_for(condition, seconds=100):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def go_on(session, seconds):
    """Lets so much more sound through."""
    end = session.clock.samples + int(seconds * session.rate)
    wait_for(lambda: session.clock.samples >= end)


def recorded(folder) -> dict[str, np.ndarray]:
    if folder is None:
        return {}
    return {f.stem: soundfile.read(f, dtype="float32", always_2d=True)[0] for f in files(folder)}


def files(folder):
    return sorted(folder.glob("*.wav"))


def late(x: np.ndarray, n: int) -> np.ndarray:
    """x with n samples of silence before it."""
    return np.concatenate([np.zeros((n, *x.shape[1:]), x.dtype), x])


def assert_sums_to_mix(files: dict[str, np.ndarray]) -> None:
    """Stems add up to the mixture, to float32's precision."""
    mix = files["mix"]
    total = sum(sound.astype(np.float64) for name, sound in files.items() if name != "mix")
    assert {sound.shape for sound in files.values()} == {mix.shape}
    assert np.abs(total - mix).max(initial=0) <= 2e-7 * max(1.0, np.abs(mix).max(initial=0))
