"""What is kept out of training: whole speakers, whole source recordings, one fold of ESC-10.

Drawn once; the list is `sets/dev.csv` beside this file, and training leaves out what it names.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from rtsep.errors import Failure, WrongCall
from rtsep.training.corpus import Recording

SETS = Path(__file__).parent / "sets"

# Classes of which one source recording goes to the development set, beside a fold of ESC-10.
_CLASSES = ("birds", "crowd", "harbour", "machinery", "market", "river", "traffic", "wind")
_TRACKS = {"0admusic": 5, "hyperrogue": 2, "singularity": 2, "stkmusic": 3}
_READERS = 13  # of each sex


def draw(recordings: Iterable[Recording], seed: int = 7) -> list[tuple[str, str]]:
    """Draws the development set: (kind, source) of all that is held out, sorted.

    Readers come from those with a few utterances each: the ones with hours are worth more in
    training, as are sources whose speakers are not labelled.
    """
    rng = np.random.default_rng(seed)
    recordings = tuple(recordings)
    held: set[tuple[str, str]] = set()

    for sex in ("F", "M"):
        files: dict[str, int] = {}
        for r in recordings:
            if r.kind == "speech" and r.group == "libri" and r.label.endswith(f"-{sex}"):
                files[r.source] = files.get(r.source, 0) + 1
        readers = sorted(source for source, count in files.items() if count <= 20)
        held |= {("speech", str(s)) for s in rng.permutation(readers)[:_READERS]}

    fold = rng.choice(sorted({_fold(r) for r in recordings if r.group == "esc"}))
    held |= {("noise", r.source) for r in recordings if r.group == "esc" and _fold(r) == fold}
    for label in _CLASSES:
        sources = sorted(
            {r.source for r in recordings if r.label == label and r.group not in ("esc", "0ad")}
        )
        family = _family(str(rng.choice(sources)))
        held |= {("noise", source) for source in sources if _family(source) == family}
    for group, count in _TRACKS.items():
        tracks = sorted({r.source for r in recordings if r.kind == "music" and r.group == group})
        held |= {("music", str(s)) for s in rng.permutation(tracks)[:count]}
    return sorted(held)


def held_out(name: str = "dev") -> frozenset[tuple[str, str]]:
    """(kind, source) of all that the committed list `name` holds out of training."""
    return frozenset((row["kind"], row["source"]) for row in read_list(name))


def parts(
    recordings: Iterable[Recording], name: str = "dev"
) -> tuple[list[Recording], list[Recording]]:
    """Recordings to train on, and those that the list `name` holds out."""
    held = held_out(name)
    training, development = [], []
    for recording in recordings:
        chosen = development if (recording.kind, recording.source) in held else training
        chosen.append(recording)
    return training, development


def read_list(name: str) -> list[dict[str, str]]:
    """The rows of a committed list, `sets/NAME.csv`."""
    if not re.fullmatch(r"[\w-]+", name):
        raise WrongCall(f"{name!r} is no name of a list")
    file = SETS / f"{name}.csv"
    if not file.exists():
        known = ", ".join(sorted(path.stem for path in SETS.glob("*.csv")))
        raise WrongCall(f"no list {name!r}; there is {known}")
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            return list(csv.DictReader(lines))
    except OSError as error:
        raise Failure(f"can't read {file}: {error.strerror}") from None


def _family(source: str) -> str:
    """Recordings whose names differ by how busy the place was may be of one place and day."""
    return re.sub(r"(Empty|Full|Low|Med|High|Light)\w*$", "", source)


def _fold(recording: Recording) -> str:
    """ESC-10's own fold, which its file names carry: takes of one recording share it."""
    return Path(recording.path).name.split("_")[1]
