"""Sound files, read and written in bounded memory.

    with Reader(path) as reader, Writer(out, reader.rate, reader.channels) as writer:
        for block in reader.blocks(4096):
            writer.write(block)

What can be wrong with a file is raised as a one-line `Failure` that names it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from rtsep.audio.containers import missing_bytes
from rtsep.audio.rates import RATES
from rtsep.errors import Failure

MAX_CHANNELS = 64
"""A model runs per channel: a file with more of them is taken for a broken one."""

_WAV_BYTES = 2**32 - 2**16  # of sound, in a plain WAV; the sizes in its header have 32 bits


class Reader:
    """A sound file of any format that libsndfile knows: `rate` (Hz), `channels`, `frames`.

    Raises `Failure` where it is missing, empty, cut short, no sound file, or has a rate or channel
    count that nothing sensible has.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._file = _open(self.path)
        self.rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.frames: int = self._file.frames
        try:
            self._check()
        except Failure:
            self._file.close()
            raise

    def blocks(self, n: int) -> Iterator[np.ndarray]:
        """The sound from the beginning, in blocks (channels, n) of float32; the last is shorter.

        Raises `Failure` where it can't be decoded, ends early, or holds NaN or infinity.
        """
        self._decoded(self._file.seek, 0)
        done = 0
        while done < self.frames:
            block = self._decoded(
                self._file.read, min(n, self.frames - done), dtype="float32", always_2d=True
            )
            if len(block) == 0:
                raise Failure(f"{self.path}: cut short after {done} of {self.frames} samples")
            finite = np.isfinite(block).all(axis=1)
            if not finite.all():
                bad = done + int(np.argmin(finite))
                raise Failure(f"{self.path}: sample {bad} is not a number or infinite")
            done += len(block)
            yield np.ascontiguousarray(block.T)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    def _decoded(self, function, *args, **options):
        try:
            return function(*args, **options)
        except soundfile.SoundFileError as error:
            raise Failure(f"{self.path}: damaged ({_said(error)})") from None

    def _check(self) -> None:
        if self.frames < 1:
            raise Failure(f"{self.path}: no samples in it")
        if self.rate not in RATES:
            raise Failure(
                f"{self.path}: a rate of {self.rate} Hz; {RATES[0]} to {RATES[-1]} Hz are possible"
            )
        if self.channels > MAX_CHANNELS:
            raise Failure(f"{self.path}: {self.channels} channels; at most {MAX_CHANNELS} are read")


class Writer:
    """A float32 WAV that has its name only once it is complete.

    Until then it lies beside it under a temporary one; if anything is raised inside the `with`,
    nothing is left of it. `frames`, where known, decides whether it must be an RF64 (from 4 GiB).
    Raises `Failure` where `path` exists (unless `overwrite`) and for whatever the system refuses:
    no such folder, no permission, no space.
    """

    def __init__(
        self,
        path: str | Path,
        rate: int,
        channels: int,
        overwrite: bool = False,
        frames: int | None = None,
    ):
        self.path = Path(path)
        self.frames = 0  # written so far
        self._overwrite, self._bytes_per_frame = overwrite, 4 * channels
        self._limit = None if self._is_long(frames or 0) else _WAV_BYTES // self._bytes_per_frame
        self._refuse_existing()
        self._temporary = self.path.with_name(f".{secrets.token_hex(8)}.part")
        try:
            self._file = self._created(rate, channels)
        except BaseException:
            with contextlib.suppress(OSError):
                self._temporary.unlink()
            raise

    def write(self, block: np.ndarray) -> None:
        """Appends a block (channels, n)."""
        if self._limit is not None and self.frames + block.shape[1] > self._limit:
            raise Failure(f"{self.path}: more than 4 GiB, which a WAV can't hold")
        try:
            self._file.write(np.ascontiguousarray(block.T, np.float32))
        except (soundfile.SoundFileError, AssertionError) as error:
            raise Failure(f"{self.path}: {self._reason(error)}") from None
        self.frames += block.shape[1]

    def complete(self) -> None:
        """All is written: makes sure of it. The file still has its temporary name."""
        try:
            self._file.close()
        except soundfile.SoundFileError as error:
            raise Failure(f"{self.path}: {self._reason(error)}") from None
        with _named(self.path):
            with open(self._temporary, "rb+") as file:
                os.fsync(file.fileno())
                size = os.fstat(file.fileno()).st_size
        if size < self.frames * self._bytes_per_frame:
            raise Failure(f"{self.path}: {self._reason(None)}")

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind, *_) -> None:
        try:
            if kind is None:
                if not self._file.closed:
                    self.complete()
                self._refuse_existing()
                with _named(self.path):
                    os.replace(self._temporary, self.path)
        finally:
            with contextlib.suppress(soundfile.SoundFileError):
                self._file.close()
            self._temporary.unlink(missing_ok=True)

    def _created(self, rate: int, channels: int) -> soundfile.SoundFile:
        with _named(self.path):
            os.close(os.open(self._temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            return soundfile.SoundFile(
                self._temporary,
                "w",
                samplerate=rate,
                channels=channels,
                format="WAV" if self._limit else "RF64",
                subtype="FLOAT",
            )
        except soundfile.SoundFileError as error:
            raise Failure(f"{self.path}: {self._reason(error)}") from None

    def _is_long(self, frames: int) -> bool:
        return frames * self._bytes_per_frame > _WAV_BYTES

    def _refuse_existing(self) -> None:
        if self.path.is_dir():
            raise Failure(f"{self.path}: is a folder")
        if not self._overwrite and os.path.lexists(self.path):
            raise Failure(f"{self.path}: exists already")

    def _reason(self, error: Exception | None) -> str:
        """Why a write failed: libsndfile does not say, but the system does when asked again."""
        try:
            with open(self._temporary, "ab", buffering=0) as file:
                if file.write(bytes(1 << 16)) == 1 << 16:
                    return _said(error) or "could not be written"
                return "no space left on the device"
        except OSError as again:
            return _reason(again)


def _open(path: Path) -> soundfile.SoundFile:
    with _named(path):
        if path.is_dir():
            raise Failure(f"{path}: is a folder")
        if path.exists() and not path.is_file():
            raise Failure(f"{path}: is no regular file")
        with open(path, "rb") as file:
            if not file.read(1):
                raise Failure(f"{path}: empty")
            missing = missing_bytes(file)
    if missing:
        raise Failure(f"{path}: cut short, {missing} bytes of sound are missing")
    try:
        return soundfile.SoundFile(path)
    except (soundfile.SoundFileError, TypeError, ValueError) as error:  # TypeError: a .raw file
        raise Failure(f"{path}: no sound file that can be read ({_said(error)})") from None


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """What the system says, as a `Failure` that names the file."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise Failure(f"{path}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return text[:1].lower() + text[1:]


def _said(error: Exception | None) -> str:
    text = getattr(error, "error_string", "") or str(error or "")
    return text.strip().rstrip(".")
