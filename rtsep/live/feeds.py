"""Where the simulated clock takes sound from, and where it puts it.

Files are read ahead and written behind by a thread each, in bounded memory, so that a slow disk
does not hold up the clock. A source gives `read(n)`: (m, channels) float32, m < n only at its end.
A sink takes `write(frames)`.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rtsep.errors import Failure

_AHEAD = 8  # segments
_BEHIND = 8192  # blocks: a disk that is slower than that holds up the clock
_END = object()


class Array:
    """A source: sound in memory, (samples, channels)."""

    def __init__(self, frames: np.ndarray):
        self._frames = np.ascontiguousarray(frames, np.float32)
        self._at = 0

    def read(self, n: int) -> np.ndarray:
        self._at += n
        return self._frames[self._at - n : self._at]

    def close(self) -> None:
        pass


class Silence:
    """A source: zeros without end."""

    def __init__(self, channels: int, rate: int):
        self.channels, self.rate, self.file_rate = channels, rate, rate

    def read(self, n: int) -> np.ndarray:
        return np.zeros((n, self.channels), np.float32)

    def close(self) -> None:
        pass


class Collected:
    """A sink: what was played, as `frames` (samples, channels) when it is over."""

    def __init__(self):
        self._parts = []

    def write(self, frames: np.ndarray) -> None:
        self._parts.append(frames.copy())

    @property
    def frames(self) -> np.ndarray:
        return np.concatenate(self._parts)

    def finish(self) -> None:
        pass

    def close(self) -> None:
        pass


class FileSource:
    """A source: a file, at `rate` (None: its own), resampled by soxr where that differs."""

    def __init__(self, path: str | Path, rate: int | None = None):
        from rtsep.audio.files import Reader

        self._reader = Reader(path)
        self._reader.__enter__()
        self.file_rate, self.channels = self._reader.rate, self._reader.channels
        self.rate = rate or self.file_rate
        self._left = np.zeros((0, self.channels), np.float32)
        self._queue: queue.Queue = queue.Queue(_AHEAD)
        self._closed = threading.Event()
        self._over = False
        self._thread = threading.Thread(target=self._fetch, daemon=True)
        self._thread.start()

    def read(self, n: int) -> np.ndarray:
        """Raises what reading the file raised, when it gets there."""
        while len(self._left) < n and not self._over:
            item = self._queue.get()
            if item is _END:
                self._over = True
            elif isinstance(item, Exception):
                self._over = True
                raise item
            else:
                self._left = np.concatenate([self._left, item])
        out, self._left = self._left[:n], self._left[n:]
        return np.ascontiguousarray(out)

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        self._reader.__exit__(None, None, None)

    def _fetch(self) -> None:
        try:
            for part in self._segments():
                self._put(part)
            self._put(_END)
        except Exception as error:
            self._put(error)

    def _put(self, item) -> None:
        while not self._closed.is_set():
            try:
                return self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue

    def _segments(self) -> Iterator[np.ndarray]:
        blocks = (np.ascontiguousarray(b.T) for b in self._reader.blocks(self.file_rate // 2))
        if self.rate == self.file_rate:
            yield from blocks
            return
        import soxr

        stream = soxr.ResampleStream(self.file_rate, self.rate, self.channels, dtype="float32")
        for block in blocks:
            yield stream.resample_chunk(block).reshape(-1, self.channels)
        rest = np.zeros((0, self.channels), np.float32)
        yield stream.resample_chunk(rest, last=True).reshape(-1, self.channels)


class FileSink:
    """A sink: a float32 WAV that has its name only when it is complete."""

    def __init__(self, path: str | Path, rate: int, channels: int, overwrite: bool = False):
        from rtsep.audio.files import Writer

        self._writer = Writer(path, rate, channels, overwrite=overwrite)
        self._writer.__enter__()
        self._queue: queue.Queue = queue.Queue(_BEHIND)
        self._error: Exception | None = None
        self._thread: threading.Thread | None = threading.Thread(target=self._store, daemon=True)
        self._thread.start()

    def write(self, frames: np.ndarray) -> None:
        """Raises `Failure` where the file can't be written."""
        if self._error is not None:
            raise self._error
        self._queue.put(frames.copy())

    def finish(self) -> None:
        """Completes the file. Raises `Failure` where it can't be written."""
        self._end()
        writer, self._writer = self._writer, None
        if self._error is not None:
            writer.__exit__(type(self._error), self._error, None)
            raise self._error
        writer.__exit__(None, None, None)

    def close(self) -> None:
        """Where it was not finished: nothing is left of it."""
        self._end()
        if self._writer is not None:
            error = Failure("not finished")
            self._writer.__exit__(type(error), error, None)
            self._writer = None

    def _end(self) -> None:
        if self._thread is not None:
            self._queue.put(_END)
            self._thread.join()
            self._thread = None

    def _store(self) -> None:
        parts, held = [], 0
        while (item := self._queue.get()) is not _END:
            parts.append(item)
            held += len(item)
            if held >= 8192 and self._error is None:
                self._flush(parts)
                parts, held = [], 0
        if parts and self._error is None:
            self._flush(parts)

    def _flush(self, parts: list[np.ndarray]) -> None:
        try:
            self._writer.write(np.concatenate(parts).T)
        except Exception as error:
            self._error = error
