"""A folder of short recordings, decoded once into one file that is mapped into memory.

The folder holds `index.csv` with a row per file: `path, kind, source_group,
speaker_or_recording_id, class, seconds, …`; `kind` is speech, noise or music. All are mono and of
one rate.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rtsep.errors import Failure

RATE = 16000


@dataclass(frozen=True)
class Recording:
    """One file. `source` is the speaker, the source recording or the track; `label` the class."""

    path: str
    kind: str
    group: str
    source: str
    label: str
    start: int
    length: int


class Corpus:
    """Recordings and their samples, int16 in one mapped file: nothing of it is held in memory."""

    def __init__(self, recordings: Iterable[Recording], samples: np.ndarray) -> None:
        self.recordings = tuple(recordings)
        self.samples = samples
        self._by_path = {recording.path: recording for recording in self.recordings}

    def __getitem__(self, path: str) -> Recording:
        if path not in self._by_path:
            raise Failure(f"no recording {path!r} in the data folder's index")
        return self._by_path[path]

    def read(self, recording: Recording, start: int = 0, length: int | None = None) -> np.ndarray:
        """Samples of one recording, a view, int16; fewer than `length` where it ends before."""
        stop = recording.length if length is None else min(start + length, recording.length)
        return self.samples[recording.start + start : recording.start + stop]


def open_corpus(
    data: str | Path,
    cache: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Corpus:
    """Opens a data folder, decoding it into `cache` first where that was not done before.

    `cache` is a folder, by default one of the user's; the decoded file's name tells which index
    it was made of. `progress` is told of the files done and of their number. Raises `Failure` for
    a folder that isn't one, for a recording that can't be read, and where there is no room.
    """
    data = Path(data)
    rows = read_index(data)
    stamp = hashlib.sha256(
        json.dumps([str(data.resolve()), [row["path"] for row in rows]]).encode()
    )
    if cache is None:
        from platformdirs import user_cache_dir

        cache = Path(os.environ.get("RTSEP_CACHE_DIR") or user_cache_dir("rtsep")) / "data"
    base = Path(cache) / stamp.hexdigest()[:16]
    lengths_file, samples_file = base.with_suffix(".json"), base.with_suffix(".i16")
    try:
        if not lengths_file.exists():
            base.parent.mkdir(parents=True, exist_ok=True)
            _decode(data, rows, samples_file, lengths_file, progress)
        lengths = json.loads(lengths_file.read_text())
        samples = np.memmap(samples_file, dtype=np.int16, mode="r")
    except OSError as error:
        raise Failure(f"can't decode {data} into {cache}: {error.strerror or error}") from None
    return Corpus(recordings_of(rows, lengths), samples)


def decode_some(data: str | Path, paths: Collection[str]) -> Corpus:
    """A few recordings of a data folder, by their paths, held in memory; no cache.

    Raises `Failure` for one that the folder does not have, or that can't be read.
    """
    data = Path(data)
    rows = [row for row in read_index(data) if row["path"] in paths]
    if missing := set(paths) - {row["path"] for row in rows}:
        raise Failure(f"{data} has no recording {min(missing)}")
    sounds = [_samples(data, row) for row in rows]
    return Corpus(recordings_of(rows, [len(sound) for sound in sounds]), np.concatenate(sounds))


def read_index(data: Path) -> list[dict[str, str]]:
    """The rows of a data folder's index."""
    file = data / "index.csv"
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
    except OSError as error:
        raise Failure(f"can't read {file}: {error.strerror}") from None
    wanted = {"path", "kind", "source_group", "speaker_or_recording_id", "class"}
    if not rows or not wanted <= rows[0].keys():
        raise Failure(f"{file} is no index: it has no rows with {', '.join(sorted(wanted))}")
    return rows


def recordings_of(rows: list[dict[str, str]], lengths: list[int]) -> list[Recording]:
    """Recordings of these rows of an index, which lie one after the other; lengths in samples."""
    starts = np.cumsum([0, *lengths])
    return [
        Recording(
            row["path"],
            row["kind"],
            row["source_group"],
            row["speaker_or_recording_id"],
            row["class"],
            int(start),
            length,
        )
        for row, start, length in zip(rows, starts[:-1], lengths, strict=True)
    ]


def _samples(data: Path, row: dict[str, str]) -> np.ndarray:
    import soundfile

    file = data / row["path"]
    try:
        samples, rate = soundfile.read(file, dtype="int16")
    except (soundfile.LibsndfileError, OSError) as error:
        raise Failure(f"can't read {file}: {error}") from None
    if rate != RATE or samples.ndim != 1:
        raise Failure(f"{file} is not mono at {RATE} Hz")
    return samples


def _decode(
    data: Path,
    rows: list[dict[str, str]],
    samples_file: Path,
    lengths_file: Path,
    progress: Callable[[int, int], None] | None,
) -> None:
    lengths = []
    part = samples_file.with_name(f".{samples_file.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as out:
            for done, row in enumerate(rows, 1):
                samples = _samples(data, row)
                out.write(samples.tobytes())
                lengths.append(len(samples))
                if progress is not None:
                    progress(done, len(rows))
        part.replace(samples_file)
    finally:
        part.unlink(missing_ok=True)
    # Written last: it says that the samples are whole.
    lengths_part = lengths_file.with_name(f".{lengths_file.name}.{os.getpid()}.part")
    lengths_part.write_text(json.dumps(lengths))
    lengths_part.replace(lengths_file)
