"""Slow moments: where too many blocks miss their stems, a lighter model takes over for a while."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from dataclasses import replace

from rtsep.errors import Failure
from rtsep.live.layout import CALLBACKS, LATE, MISSES, PLAYED, WORKER_JUMPED
from rtsep.live.options import Options
from rtsep.live.ring import written
from rtsep.live.swapping import key

WINDOW = 2.0  # s of sound in which the share of missed blocks is taken
_AGAIN = 60.0  # s until something that failed is tried again
_LONGEST = 600.0  # s of quiet, at the most, before the model that was too slow gets another chance


class Fallback:
    """`look` has to be called every now and then; what is to happen then happens by itself.

    When `options.fallback_share` of the blocks were late, the fallback takes over; after
    `options.fallback_quiet` seconds without a late one, what was heard before comes back. Should
    that be late again soon, the next wait is twice as long. `falls` counts.
    """

    def __init__(self, session):
        self._session, options = session, session.options
        self._light, self._home = lighter(options), options
        self._share, self._quiet = options.fallback_share, options.fallback_quiet
        self._wait = self._quiet
        self._seen: deque[tuple[float, int, int]] = deque()
        self._calm = self._returned = self._closed = -_LONGEST
        self.falls = 0

    def look(self) -> None:
        h, rate = self._session.block.i64, self._session.rate
        now = written(h, PLAYED) / rate
        if self._session.swaps.busy or now < self._closed:
            self._seen.clear()
            self._calm = now
            return
        blocks, late = int(h[CALLBACKS]), int(h[MISSES + LATE] + h[MISSES + WORKER_JUMPED])
        self._seen.append((now, blocks, late))
        while len(self._seen) > 1 and self._seen[1][0] <= now - WINDOW:
            self._seen.popleft()
        since, first, before = self._seen[0]
        if late > before:
            self._calm = now
        if key(self._session.options) == key(self._light):
            if now - self._calm >= self._wait:
                self._rise(now)
            return
        self._home = self._session.options
        share = (late - before) / max(1, blocks - first)
        if now - since >= WINDOW and share >= self._share:
            self._fall(now, share)

    def _fall(self, now: float, share: float) -> None:
        soon = now - self._returned < 2 * self._wait
        self._wait = min(2 * self._wait, _LONGEST) if soon else self._quiet
        self._session.workers.tell(
            f"{share:.0%} of the last {WINDOW:g} s was late: {self._session.options.fallback} is "
            "to take over"
        )
        self.falls += 1
        self._swap(now, self._light)

    def _rise(self, now: float) -> None:
        self._session.workers.tell(f"no block was late for {now - self._calm:.0f} s: back again")
        self._returned = now
        self._swap(now, self._home)

    def _swap(self, now: float, wanted: Options) -> None:
        def outcome(done: Future) -> None:
            if done.exception() is not None:
                self._closed = now + _AGAIN

        try:
            self._session.swaps.start(wanted).add_done_callback(outcome)
        except Failure as failure:
            self._session.workers.tell(f"no change: {failure}")
            self._closed = now + _AGAIN


def lighter(options: Options) -> Options:
    """The same run with its fallback: a model, or a factory in a run of a factory."""
    name = options.fallback
    factory = name if options.factory is not None else None
    return replace(options, model=name, factory=factory, chunk=None)
