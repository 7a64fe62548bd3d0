"""Recording on and off under way: takes, one after the other, each in a folder of its own."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from pathlib import Path

from rtsep.errors import Failure
from rtsep.live.layout import PLAYED, RATE, Block
from rtsep.live.recorder import Recorder
from rtsep.live.ring import written

_TAKE = "take"  # what a folder is called where nobody named one
_DISK = 10.0  # s that the end of a take waits for a disk that hangs


class Takes:
    """The recordings of one run; at most one at a time. May be called from any thread.

    The first goes to `folder`, if there is one, the next to `folder`-2, -3 …; without, to take-1,
    take-2 … of the working directory: always to one that is not there yet.
    """

    def __init__(
        self,
        block: Block,
        stems: tuple[str, ...],
        remainder: str,
        folder: str | Path | None = None,
        overwrite: bool = False,
    ):
        self._block, self._stems, self._remainder = block, stems, remainder
        self._folder = None if folder is None else Path(folder)
        self._recorders: list[Recorder] = []
        self._current: Recorder | None = None
        self._slots = list(range(len(stems)))
        self._lock = threading.Lock()
        if self._folder is not None:
            # Opened before the run: what can't be written there is refused in time.
            self._add(self._folder, overwrite)

    def begin_first(self) -> None:
        """Sound is about to begin: a recording that was asked for beforehand begins with it."""
        with self._lock:
            if self._recorders:
                self._current = self._recorders[0]
                self._current.start()

    def begin(self, folder: str | Path | None = None) -> Path:
        """Records from now on; where to. Raises what `Recorder` raises, and `Failure` where a
        recording goes on."""
        with self._lock:
            if self.folder is not None:
                raise Failure(f"this is being recorded already, to {self.folder}")
            last = self._recorders[-1] if self._recorders else None
            if last is not None and last.writing:
                raise Failure(f"the disk still writes the take before, {last.folder}")
            recorder = self._add(self._next() if folder is None else Path(folder))
            recorder.start(written(self._block.i64, PLAYED))
            self._current = recorder
            return recorder.folder

    def end(self) -> Path | None:
        """Ends the take that is being recorded, and completes its files; where they are."""
        with self._lock:
            recorder, self._current = self._current, None
            if recorder is None:
                return None
            recorder.finish(written(self._block.i64, PLAYED), _DISK)
            return recorder.folder

    def finish(self, end: int, seconds: float | None = None) -> None:
        """The run is over: see `Recorder.finish`."""
        with self._lock:
            self._current = None
            for recorder in self._recorders:
                if recorder.open:
                    recorder.finish(end, seconds)

    def check(self, model: str, stems: tuple[str, ...], longer: bool) -> None:
        """Raises `Failure` where a model with these stems, or a longer latency, can't be changed to
        now: a recording goes on in the same files, sample by sample."""
        if self.folder is None:
            return
        if set(stems) != set(self._stems):
            raise Failure(
                f"{self.folder} is being recorded, with {', '.join(self._stems)}: {model} has "
                f"{', '.join(stems)}; end the recording first"
            )
        if longer:
            raise Failure(
                f"{self.folder} is being recorded: {model} would make the latency longer under "
                "way; end the recording first"
            )

    @contextmanager
    def change(
        self, model: str, stems: tuple[str, ...], remainder: str, slots: list[int], longer: bool
    ):
        """While the sound goes over to another model: no recording begins or ends; the next ones
        are of its stems. Raises what `check` raises."""
        with self._lock:
            self.check(model, stems, longer)
            yield
            self._stems, self._remainder, self._slots = stems, remainder, slots

    @property
    def folder(self) -> Path | None:
        """Of the take that is being recorded now."""
        current = self._current
        return None if current is None or current.error else current.folder

    @property
    def seconds(self) -> float:
        """How long the take is that is being recorded now."""
        current = self._current
        return 0.0 if current is None else current.samples / int(self._block.i64[RATE])

    @property
    def files(self) -> list[str]:
        return [file for recorder in self._recorders for file in recorder.files]

    @property
    def lost(self) -> int:
        """Samples that were overwritten before they could be written, and are silent in all."""
        return sum(recorder.lost for recorder in self._recorders)

    @property
    def errors(self) -> list[str]:
        """What ended a recording before its time."""
        return [recorder.error for recorder in self._recorders if recorder.error]

    def _add(self, folder: Path, overwrite: bool = False) -> Recorder:
        recorder = Recorder(
            self._block, folder, self._stems, self._remainder, overwrite, self._slots
        )
        self._recorders.append(recorder)
        return recorder

    def _next(self) -> Path:
        base, number = (Path(_TAKE), 1) if self._folder is None else (self._folder, 2)
        while (folder := base.with_name(f"{base.name}-{number}")).exists():
            number += 1
        return folder
