"""Records every stem and the mixture, before gains: a reader of the rings, never in their way.

Sample i of each file is the sound of time i − internal latency, as the callback knew it then; i
counts from where the recording begins, the start of the run or a moment in it (see `takes.py`).
Where one worker followed another, so do the files, on the cross-fade that was heard. Where stems
were missed, the remainder stem takes the dry sound and the others go over to silence,
on the ramps that the callback drew for itself; so at every sample the stems sum to `mix.wav`.
The rings hold ten seconds for it: what a longer stall of the disk costs is silent in all files.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rtsep.errors import Failure, WrongCall
from rtsep.live.fade import cover, fresh
from rtsep.live.layout import (
    CAPTURE,
    CHANNELS,
    CROSS,
    FADE,
    FALL,
    LATENCY,
    NOT_RECORDED,
    PLAYED,
    RATE,
    RECORDED,
    STEMS_A,
    STEMS_B,
    Block,
)
from rtsep.live.ring import OVERRUN, Ring, store
from rtsep.live.wav import GrowingWav

MIX_NAME = "mix"
_PIECE = 0.1  # s


@dataclass
class _Tape:
    """All files at once, of one length at the end."""

    files: list[GrowingWav] = field(default_factory=list)

    def write(self, parts: list[np.ndarray]) -> None:
        for file, part in zip(self.files, parts, strict=True):
            file.write(part)

    def level(self) -> None:
        """Cuts all files to the shortest: the last piece may have got into some only."""
        shortest = min(file.frames for file in self.files)
        for file in self.files:
            try:
                file.cut(shortest)
            except OSError:
                pass  # what is there is whole all the same

    def close(self) -> None:
        for file in self.files:
            file.close()


class Recorder:
    """Writes FOLDER/STEM.wav and FOLDER/mix.wav, float32, in a thread of its own.

    Raises `WrongCall` for stems that can't be file names or recordings that are there already,
    `Failure` where the folder can't be written. What goes wrong later ends the recording, not the
    run: `error` says what, and the files are whole up to there.
    """

    def __init__(
        self,
        block: Block,
        folder: str | Path,
        stems: tuple[str, ...],
        remainder: str,
        overwrite: bool = False,
        slots: list[int] | None = None,
    ):
        h = block.i64
        self._channels, self._latency = int(h[CHANNELS]), int(h[LATENCY])
        self._names, self._rest = stems, stems.index(remainder)
        self._capture, self._played = Ring(block, CAPTURE), Ring(block, PLAYED)
        self._stems = [Ring(block, STEMS_A), Ring(block, STEMS_B)]
        self._piece = min(int(_PIECE * h[RATE]), self._capture.capacity // 8)
        fall, length = int(h[FALL]), int(h[FADE])
        self._fall = block.f32[fall : fall + length].copy()
        self._slots = list(range(len(stems))) if slots is None else slots
        self._width = len(stems) * self._channels
        self._fade = fresh(self._width, self._fall)
        self._mark, self._crossed, self._cross = 0, 0, int(h[CROSS])
        self.folder = Path(folder)
        self._tape = _open(self.folder, stems, int(h[RATE]), self._channels, overwrite)
        rehearse(block)
        self._at = 0  # the clock time up to which everything is on tape
        self._block = block
        self.lost = 0  # samples that were overwritten before they could be written
        self.error: str | None = None
        self._end: int | None = None
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._main, name="recorder", daemon=True)

    @property
    def files(self) -> list[str]:
        return [str(path) for file in self._tape.files for path in file.paths]

    @property
    def samples(self) -> int:
        """How long every file is."""
        return min(file.frames for file in self._tape.files)

    @property
    def writing(self) -> bool:
        """Whether it has begun, and not yet written all that it is to write."""
        return self._thread.is_alive()

    @property
    def open(self) -> bool:
        """Whether nobody has told it to finish."""
        return self._end is None

    def start(self, time: int = 0) -> None:
        """Records from clock time `time` on."""
        self._at = time
        # A clock that can wait does so from now on, in place of leaving the recorder behind.
        self._tell(time)
        self._thread.start()

    def finish(self, end: int, seconds: float | None = None) -> None:
        """Writes what is left up to clock time `end`, and closes the files.

        Of a recording that never began nothing is left. A disk that hangs is waited for for at most
        so many `seconds`; then the files stay as they are.
        """
        self._end = end
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(seconds)
            if self._thread.is_alive():
                return
        empty = self.samples == 0
        self._tape.close()
        if empty:
            for file in self._tape.files:
                while file.paths:
                    file.paths.pop().unlink(missing_ok=True)

    def _main(self) -> None:
        try:
            while not (self._end is not None and self._at >= self._end):
                if not self._advance():
                    self._wake.wait(0.05)
        except OSError as error:
            self.error = f"recording to {self.files[0]} ended: {error.strerror or error}"
            self._tape.level()
        finally:
            self._tell(NOT_RECORDED)

    def _advance(self) -> bool:
        """Writes the next piece, if there is one."""
        limit = self._played.written
        if self._end is not None:
            limit = min(limit, self._end)
            if limit <= self._at:
                self._at = self._end  # nothing more will come
                return True
        n = min(limit - self._at, self._piece)
        if n <= 0 or (n < self._piece and self._end is None):
            return False
        self._tape.write(self._render(n))
        self._at += n
        self._tell(self._at)
        return True

    def _tell(self, time: int) -> None:
        indices = self._block.i64
        if indices is not None:  # else the run did not wait for a disk that hangs
            store(indices, RECORDED, time)

    def _render(self, n: int) -> list[np.ndarray]:
        """The next n samples: one (n, channels) for every stem, and the mixture's.

        Where any of it was overwritten before it could be read, all files are silent alike.
        """
        start = self._at - self._latency
        late, dry, _ = self._capture.read(start, n)
        gone, _, marks = self._played.read(self._at, n)
        stems = np.zeros((n, self._width), np.float32)
        whole = late != OVERRUN and gone != OVERRUN
        if whole:
            # Runs of samples that were made of one ring, or missed.
            edges = [0, *(np.flatnonzero(np.diff(marks)) + 1), n]
            for a, b in zip(edges[:-1], edges[1:], strict=True):
                whole &= self._run(int(marks[a]), start + a, dry[a:b], stems[a:b])
        if not whole:
            self.lost += n
            dry[:], stems[:] = 0, 0
            self._fade = fresh(self._width, self._fall)
        by_stem = stems.reshape(n, len(self._names), self._channels)
        return [*(by_stem[:, k] for k in range(len(self._names))), dry]

    def _run(self, mark: int, start: int, dry: np.ndarray, out: np.ndarray) -> bool:
        """Fills `out` with a run's stems; False: they were overwritten."""
        n = len(dry)
        x, present = out, mark > 0
        renew = False
        if mark != self._mark:
            # What was cross-faded to its end goes on by itself.
            crossed = self._mark == mark + 2 and self._crossed == self._cross
            renew = mark in (1, 2) and self._mark > 0 and not crossed
            self._mark, self._crossed = mark, 0
        if present:
            x = self._read((mark - 1) % 2, start, n)
            if x is None:
                return False
        if mark > 2:
            before = self._read(mark % 2, start, n)
            if before is None:
                return False
            left = self._cross - self._crossed - np.arange(n) - 0.5
            x = x + (left / self._cross).astype(np.float32)[:, None] * (before - x)
            self._crossed += n
        whole = np.empty(n, np.bool_)
        cover(self._fade[0], 0, self._fade[1], self._fall, present, x, out, whole, renew)
        if mark > 2:
            whole[:] = False
        # While something fades the remainder makes up for it; else it is what the worker made.
        by_stem = out.reshape(n, len(self._names), self._channels)
        others = np.delete(by_stem, self._rest, 1).sum(1)
        by_stem[~whole, self._rest] = (dry - others)[~whole]
        return True

    def _read(self, ring: int, start: int, n: int) -> np.ndarray | None:
        """The stems (n, stems · channels) of a ring; None: they were overwritten."""
        status, frames, _ = self._stems[ring].read(start, n)
        if status == OVERRUN:
            return None
        # As compiled code knows it: what is strange to it is compiled anew.
        by_stem = frames.reshape(n, -1, self._channels)[:, self._slots]
        return np.ascontiguousarray(by_stem).reshape(n, -1)


def rehearse(block: Block) -> None:
    """Loads what is compiled, which would hold up a simulated clock while it runs."""
    fall, length = int(block.i64[FALL]), int(block.i64[FADE])
    stems, curve = Ring(block, STEMS_A), block.f32[fall : fall + length].copy()
    _, x, _ = stems.read(-1, 1)
    state, history = fresh(stems.width, curve)
    cover(state, 0, history, curve, True, x, x.copy(), np.empty(1, np.bool_), False)
    for ring in (CAPTURE, PLAYED):
        Ring(block, ring).read(-1, 1)


def _open(folder: Path, stems: tuple[str, ...], rate: int, channels: int, overwrite: bool) -> _Tape:
    tape = _Tape()
    names = [*stems, MIX_NAME]
    if MIX_NAME in stems or any(Path(name).name != name for name in stems):
        raise WrongCall(f"stems named {', '.join(stems)} can't be recorded to files of their names")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            tape.files.append(GrowingWav(folder / f"{name}.wav", rate, channels, overwrite))
    except OSError as error:
        for file in tape.files:
            file.close()
            file.paths[0].unlink(missing_ok=True)
        if isinstance(error, FileExistsError) and error.filename != str(folder):
            raise WrongCall(
                f"{error.filename} is there already: take another folder, or --overwrite"
            ) from None
        raise Failure(f"can't record to {folder}: {error.strerror or error}") from None
    return tape
