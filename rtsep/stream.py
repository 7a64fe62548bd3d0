"""Separation of sound as it comes, in blocks of any size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rtsep.audio.fifo import Fifo
from rtsep.errors import WrongCall
from rtsep.pipeline import build

_PIECE = 4096  # samples that pass at once: bounds the queue


class Stream:
    """Push a block, get the stems' blocks of the same size, `latency` samples late, always.

        with rtsep.Stream("convtasnet", rate=48000, channels=2) as stream:
            stems = stream.push(block)    # {"voice": ..., "background": ...}

    Output sample k is the sound of input sample `k - latency`, in every stem, whatever the sizes
    of the blocks; their sum is the mixture, that much late. `latency` is the least that holds for
    all sizes. `model`, `engine`, `chunk` and `precision` are those of
    `rtsep.engines.build`; `filter` ("standard" or "short") resamples where `rate` is not the
    model's; where it is above, `full_band` shares what the model does not hear among the stems.

    Attributes: `stems`, `primary`, `rate` (Hz), `channels`, `latency` (samples at `rate`).
    The engine is this stream's own; use it from one thread at a time, and close it.
    """

    def __init__(
        self,
        model="convtasnet",
        rate: int = 48_000,
        channels: int = 1,
        *,
        engine: str = "auto",
        chunk: int | None = None,
        precision: str | None = None,
        filter: str = "standard",
        full_band: bool = True,
        progress: Callable[[str], None] | None = None,
    ):
        self._pipeline = build(
            model,
            rate,
            channels,
            engine=engine,
            chunk=chunk,
            precision=precision,
            filter=filter,
            full_band=full_band,
            progress=progress,
        )
        self.rate, self.channels = rate, channels
        self.stems, self.primary = self._pipeline.stems, self._pipeline.primary
        self.latency: int = self._pipeline.latency
        self._queue = Fifo(len(self.stems) * channels, self.latency + _PIECE)
        self._closed = False
        self._begin()

    @property
    def bad_input(self) -> int:
        """How many samples so far were NaN or infinite; they were taken as 0."""
        return self._pipeline.bad_input

    def push(self, block: np.ndarray) -> dict[str, np.ndarray]:
        """The next samples of each stem, new float32 arrays shaped like `block`.

        `block` is (channels, n), or (n,) where there is one channel; any n. Raises `WrongCall` for
        other shapes, and after `close`.
        """
        if self._closed:
            raise WrongCall("this stream is closed")
        sound = np.atleast_2d(block)
        if np.ndim(block) not in (1, 2) or sound.shape[0] != self.channels:
            raise WrongCall(
                f"a block of shape {np.shape(block)}; it must be ({self.channels}, samples)"
            )
        out = np.empty((len(self.stems), *sound.shape), np.float32)
        for n in range(0, sound.shape[1], _PIECE):
            stems = self._pipeline.process(sound[:, n : n + _PIECE])
            self._queue.put(stems.reshape(out.shape[0] * out.shape[1], stems.shape[2]))
            place = out[:, :, n : n + _PIECE]
            place[...] = self._queue.take(place.shape[2]).reshape(place.shape)
        return {
            name: stem.reshape(np.shape(block)) for name, stem in zip(self.stems, out, strict=True)
        }

    def reset(self) -> None:
        """As new: what comes next is the beginning."""
        self._pipeline.reset()
        self._begin()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._pipeline.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _begin(self) -> None:
        """Silence ahead: what the slowest chunk is late by."""
        self._queue.clear()
        self._queue.put(np.zeros((len(self.stems) * self.channels, self.latency), np.float32))
