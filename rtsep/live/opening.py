"""From what a user names (a file, the demo, nowhere) to a session: one place for all callers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from rtsep.errors import WrongCall
from rtsep.live.options import Options
from rtsep.live.process import WorkerProcess


@dataclass(frozen=True)
class Ends:
    """Where sound comes from and where it goes.

    `input`: a file, or "demo". `output`: a WAV file, or "none". `rate` in Hz (None: the input's
    own), `duration` in seconds of input (None: all of it).
    """

    input: str | Path = "demo"
    output: str | Path = "none"
    rate: int | None = None
    duration: float | None = None
    overwrite: bool = False

    def check(self) -> None:
        """Raises `WrongCall` for what can't be, before anything is opened."""
        if self.rate is not None and not 4000 <= self.rate <= 384_000:
            raise WrongCall(f"--rate {self.rate}: between 4000 and 384000 Hz")
        if self.duration is not None and not 0 < self.duration < math.inf:
            raise WrongCall(f"--duration {self.duration:g}: more than 0 seconds")
        if self.output != "none" and Path(self.output).suffix.lower() != ".wav":
            raise WrongCall(f"--output {self.output}: a file that ends in .wav, or none")


def open_session(
    ends: Ends,
    options: Options,
    progress: Callable[[str], None] = lambda text: None,
    say: Callable[[str], None] = lambda text: None,
):
    """A `Session` (see `session.py`) between these ends, ready to start.

    `progress` is told what takes long while an engine is built, `say`
    what the user should know. Raises what opening or building raises; then nothing is left behind.
    """
    ends.check()
    process = WorkerProcess()  # loads its libraries while we load ours
    feed = sink = None
    try:
        from rtsep import demo
        from rtsep.live.feeds import FileSink, FileSource
        from rtsep.live.session import Session

        path = demo.path() if ends.input == "demo" else Path(ends.input)
        feed = FileSource(path, ends.rate)
        if feed.rate != feed.file_rate:
            say(f"{path}: {feed.file_rate} Hz, resampled beforehand to {feed.rate} Hz")
        if ends.output != "none":
            sink = FileSink(ends.output, feed.rate, feed.channels, ends.overwrite)
        if ends.duration is not None:
            options = replace(options, limit=max(1, round(ends.duration * feed.rate)))
        return Session(feed, sink, feed.rate, feed.channels, options, progress, process)
    except BaseException:
        process.stop()
        for end in (feed, sink):
            if end is not None:
                end.close()
        raise
