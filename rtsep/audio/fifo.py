"""A queue of samples in one piece of memory."""

from __future__ import annotations

import numpy as np


class Fifo:
    """Sound (channels, n) goes in and comes out in order, float32; at most `capacity` is waiting.

    Putting more than there is room for is a bug of the caller, and raises ValueError.
    """

    def __init__(self, channels: int, capacity: int):
        self._memory = np.zeros((channels, 2 * capacity), np.float32)
        self._capacity = capacity
        self.clear()

    def __len__(self) -> int:
        return self._end - self._begin

    def clear(self) -> None:
        self._begin = self._end = 0

    def put(self, sound: np.ndarray) -> None:
        n = sound.shape[1]
        if len(self) + n > self._capacity:
            raise ValueError(f"{n} samples do not fit behind {len(self)} of {self._capacity}")
        if self._end + n > self._memory.shape[1]:  # at most half is in use: halves don't overlap
            waiting = len(self)
            self._memory[:, :waiting] = self._memory[:, self._begin : self._end]
            self._begin, self._end = 0, waiting
        self._memory[:, self._end : self._end + n] = sound
        self._end += n

    def take(self, n: int) -> np.ndarray:
        """The next `n` samples: a view, good until the next `put`."""
        if n > len(self):
            raise ValueError(f"{n} samples are asked for, {len(self)} are waiting")
        self._begin += n
        return self._memory[:, self._begin - n : self._begin]
