"""`rtsep separate`: files in, one WAV per stem out."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from rtsep.cli.options import AsJson, FullBand, Precision
from rtsep.errors import Failure, WrongCall
from rtsep.interruptions import interruptions


def command(
    files: Annotated[list[Path], typer.Argument(help="Sound files.", metavar="FILE...")],
    out: Annotated[
        Path, typer.Option(help="Write DIR/<file's name without suffix>/STEM.wav.", metavar="DIR")
    ],
    model: Annotated[
        str, typer.Option(help="A model that ships, or a checkpoint.", metavar="NAME|FILE")
    ] = "convtasnet",
    engine: Annotated[str, typer.Option(help="What runs the model.", metavar="NAME")] = "auto",
    chunk: Annotated[
        int | None,
        typer.Option(
            help="Samples per step at the model's rate; larger is faster. Default: as in 'run'.",
            metavar="N",
        ),
    ] = None,
    precision: Precision = None,
    full_band: FullBand = True,
    overwrite: Annotated[bool, typer.Option(help="Replace files that exist.")] = False,
    as_json: AsJson = False,
) -> None:
    """Separate sound files, as fast as possible, in bounded memory.

    Stems have their input's rate, channels and length, and lie under it sample by sample.
    """
    from rtsep import pipeline
    from rtsep.checkpoints import read_spec
    from rtsep.models import find

    signal.signal(signal.SIGTERM, lambda number, _: _end(number))
    spec = read_spec(find(model))
    jobs = [_job(file, out) for file in files]
    for job in jobs:
        _check_channels(spec, job)
    _check_targets(jobs, spec.stems, overwrite)
    build = functools.partial(
        pipeline.build,
        model,
        engine=engine,
        chunk=chunk,
        precision=precision,
        full_band=full_band,
    )
    done = _run(jobs, build, overwrite, quiet=as_json)
    if as_json:
        print(json.dumps(done, indent=2))
    else:
        engine = f"{done['engine']} in {done['precision']} ({done['engine_reason']})"
        print(f"rtsep: {done['model']} on {engine}", file=sys.stderr)
        for job in done["files"]:
            print("\n".join(job["stems"].values()))


@dataclass(frozen=True)
class _Job:
    file: Path
    folder: Path
    rate: int
    channels: int
    frames: int


def _job(file: Path, out: Path) -> _Job:
    """Raises `Failure` where the file can't be read."""
    from rtsep.audio.files import Reader

    if file.stem.strip(".") == "":
        raise WrongCall(f"{file}: a file of this name can't name a folder for its stems")
    with Reader(file) as reader:
        return _Job(file, out / file.stem, reader.rate, reader.channels, reader.frames)


def _check_channels(spec, job: _Job) -> None:
    from rtsep.pipeline import Pipeline

    try:
        Pipeline.batch_for(spec, job.channels)
    except WrongCall as error:
        raise WrongCall(f"{job.file}: {error}") from None


def _check_targets(jobs: list[_Job], stems: tuple[str, ...], overwrite: bool) -> None:
    """Before anything is written: could it be, and would a file be lost?"""
    taken: dict[Path, Path] = {}
    for job in jobs:
        _check_folder(job.folder)
        for target in (job.folder / f"{stem}.wav" for stem in stems):
            with contextlib.suppress(OSError):
                for other in jobs:
                    if os.path.samefile(target, other.file):
                        raise Failure(f"{target}: is an input, and would be written over")
            if overwrite:
                continue
            if target in taken:
                raise Failure(
                    f"{taken[target]} and {job.file} would both be written to {job.folder} "
                    "(--overwrite lets the last one win)"
                )
            if os.path.lexists(target):
                raise Failure(f"{target}: exists already (--overwrite replaces it)")
            taken[target] = job.file


def _check_folder(folder: Path) -> None:
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        raise Failure(f"{there}: is not a folder")
    if not os.access(there, os.W_OK):
        raise Failure(f"{there}: can't be written to")


def _run(jobs: list[_Job], build, overwrite: bool, quiet: bool) -> dict:
    """`build(rate, channels, progress=...)` makes a pipeline."""
    from rtsep.offline import separate_file

    start, results, pipeline = time.perf_counter(), [], None
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(_Bar(quiet))
        for job in jobs:
            bar.begin(job.file.name, job.frames)
            if pipeline is None or (pipeline.rate, pipeline.channels) != (job.rate, job.channels):
                pipeline = build(job.rate, job.channels, progress=bar.say)
                stack.callback(pipeline.close)
            bar.say("")
            begin = time.perf_counter()
            with interruptions() as interrupted:

                def advance(samples: int) -> None:
                    bar.advance(samples)
                    _end(interrupted())

                targets = separate_file(
                    job.file, job.folder, pipeline, overwrite=overwrite, progress=advance
                )
            _end(interrupted())
            seconds = job.frames / job.rate
            results.append(
                {
                    "input": str(job.file),
                    "rate": job.rate,
                    "channels": job.channels,
                    "seconds": seconds,
                    "rtf": (time.perf_counter() - begin) / seconds,
                    "stems": {stem: str(path) for stem, path in targets.items()},
                }
            )
    spec = pipeline.engine.spec
    return {
        "model": spec.model,
        "engine": spec.engine,
        "precision": spec.precision,
        "engine_reason": spec.reason,
        "chunk": spec.chunk,
        "took_s": time.perf_counter() - start,
        "files": results,
    }


class _Bar:
    """A progress bar per file, on stderr, where that is a terminal."""

    def __init__(self, quiet: bool):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            disable=quiet or not console.is_terminal,
        )
        self._task = None

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_) -> None:
        self._progress.stop()

    def begin(self, name: str, total: int) -> None:
        printable = "".join(letter if letter.isprintable() else "?" for letter in name)
        self._task = self._progress.add_task(printable, total=total, note="")

    def say(self, note: str) -> None:
        self._progress.update(self._task, note=note)

    def advance(self, samples: int) -> None:
        self._progress.advance(self._task, samples)


def _end(number: int | None) -> None:
    """Where a signal of this number has come: what is half written is removed on the way out."""
    if number is not None:
        raise SystemExit(128 + number)
