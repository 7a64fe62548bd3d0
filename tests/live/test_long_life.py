"""Hours of sound leave memory, handles and latency as they were."""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from rtsep.live.notices import Notices
from rtsep.live.options import Options
from rtsep.live.session import Session
from rtsep.live.summary import summary

RATE = 16000
TICK = 10 * RATE  # samples from one impulse to the next
ENOUGH = 2048  # kB that a process may grow by, for whatever reason

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into processes via /proc")


class Ticking:
    """A source: noise for so long, and an impulse every 10 s."""

    def __init__(self, seconds):
        self._left, self._at = int(seconds * RATE), 0
        self._noise = np.random.default_rng(0).normal(0, 0.02, (4096, 1)).astype(np.float32)

    def read(self, n):
        n = min(n, self._left, len(self._noise))
        frames = self._noise[:n].copy()
        frames[(-self._at) % TICK : n : TICK] = 0.9
        self._left, self._at = self._left - n, self._at + n
        return frames

    def close(self):
        pass


@dataclass
class Ticks:
    """A sink: where the impulses came out."""

    at: list = field(default_factory=list)
    heard: int = 0

    def write(self, frames):
        self.at += (self.heard + np.flatnonzero(frames[:, 0] > 0.2)).tolist()
        self.heard += len(frames)

    def finish(self):
        pass

    def close(self):
        pass


@dataclass
class Footprint:
    """Of this process and the worker: memory in kB, open handles, threads."""

    memory: tuple
    handles: tuple

    @classmethod
    def of(cls, *pids):
        memory, handles = [], []
        for pid in pids:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            fields = dict(line.split(":", 1) for line in lines)
            memory.append(int(fields["RssAnon"].split()[0]))
            handles.append((len(os.listdir(f"/proc/{pid}/fd")), int(fields["Threads"])))
        return cls(tuple(memory), tuple(handles))

    def grown(self, before):
        return max(now - then for now, then in zip(self.memory, before.memory, strict=True))


def live_through(seconds, options):
    """(footprint after the first tenth, at the end, where ticks were heard, the latency)"""
    sink = Ticks()
    with Session(Ticking(seconds), sink, RATE, 1, options) as session:
        session.start()
        pids, first = (os.getpid(), session.process.pid), None
        notices = Notices(session)
        while not session.join(0.05):
            # Somebody looks at it all the while.
            assert not notices.new() and summary(session)["misses"]["total"] == 0
            if session.clock.samples < seconds * RATE * 0.9:
                last = Footprint.of(*pids)
                if first is None and session.clock.samples > seconds * RATE * 0.1:
                    first = last
        told = session.finish()
    assert told["misses"]["total"] == 0 and told["jumps"] == 0
    return first, last, np.array(sink.at), session.latency.internal


def fast(factory="quarter_model:plain"):
    return Options(factory=factory, chunk=1024, blocks=1024, paced=False, solo=("voice",))


def assert_as_it_was(seconds, first, last, ticks, latency):
    assert last.grown(first) < ENOUGH and last.handles == first.handles
    assert np.array_equal(ticks, np.arange(0, seconds * RATE, TICK) + latency)


def test_twenty_minutes():
    assert_as_it_was(1200, *live_through(1200, fast()))


def test_a_leak_would_be_seen():
    """4 kB of each step are enough to fail after five minutes."""
    first, last, _, _ = live_through(300, fast("quarter_model:leaking"))
    assert last.grown(first) > ENOUGH


@pytest.mark.long
def test_two_hours_of_the_real_model():
    options = Options(chunk=1024, blocks=1024, paced=False, gains={"voice": 1.0})
    assert_as_it_was(7200, *live_through(7200, options))
