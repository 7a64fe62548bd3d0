"""A WAV file that is whole at every moment, however the process ends.

Sound goes straight to the file, the header's sizes after it: they never promise more than is
there. Before the sizes outgrow 32 bits the recording goes on in a next part, NAME.2.wav.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np

_HEADER = 58  # RIFF, fmt (18 bytes, as float needs), fact, data
LARGEST = (1 << 32) - (1 << 20)  # bytes of a part


class GrowingWav:
    """float32 WAV. Every method may raise `OSError`."""

    def __init__(
        self,
        path: str | Path,
        rate: int,
        channels: int,
        overwrite: bool = False,
        largest: int = LARGEST,
    ):
        self._first, self._rate, self._channels = Path(path), rate, channels
        self._flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        self._flags |= os.O_TRUNC if overwrite else os.O_EXCL
        self._frame = 4 * channels
        self._room = (largest - _HEADER) // self._frame  # frames in a part
        self.paths: list[Path] = []
        self.frames = 0  # in all parts
        self._file: int | None = None
        self._open()

    def write(self, frames: np.ndarray) -> None:
        """Appends (n, channels) float32. Where that fails, none or a part of it is there."""
        while len(frames):
            if self._held == self._room:
                self.close()
                self._open()
            part, frames = np.split(frames, [self._room - self._held])
            data = memoryview(np.ascontiguousarray(part, "<f4")).cast("B")
            while data:
                data = data[os.write(self._file, data) :]
            self._held += len(part)
            self.frames += len(part)
            self._sizes()

    def cut(self, frames: int) -> None:
        """Drops what was appended after so many frames, as far as it lies in the last part."""
        self._held = max(0, self._held - max(0, self.frames - frames))
        self.frames = min(self.frames, frames)
        self._sizes()
        os.ftruncate(self._file, _HEADER + self._held * self._frame)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self) -> None:
        n = len(self.paths) + 1
        path = self._first if n == 1 else self._first.with_suffix(f".{n}{self._first.suffix}")
        self._file = os.open(path, self._flags, 0o666)
        self._held = 0
        try:
            os.write(self._file, self._header())
        except OSError:
            self.close()
            path.unlink()
            raise
        self.paths.append(path)

    def _header(self) -> bytes:
        data = self._held * self._frame
        form = struct.pack(
            "<HHIIHHH",
            3,  # IEEE float
            self._channels,
            self._rate,
            self._rate * self._frame,
            self._frame,
            32,
            0,
        )
        return b"".join(
            (
                b"RIFF" + struct.pack("<I", _HEADER - 8 + data) + b"WAVE",
                b"fmt " + struct.pack("<I", len(form)) + form,
                b"fact" + struct.pack("<II", 4, self._held),
                b"data" + struct.pack("<I", data),
            )
        )

    def _sizes(self) -> None:
        """Puts the header right, in one write, and goes back to the end."""
        os.lseek(self._file, 0, os.SEEK_SET)
        os.write(self._file, self._header())
        os.lseek(self._file, _HEADER + self._held * self._frame, os.SEEK_SET)
