"""What `rtsep tune` found out on this machine, kept beside the cache: one JSON file per model.

A record holds for the processor and the versions it was measured with; any other is ignored.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from rtsep import __version__
from rtsep.engines import cache


@dataclass(frozen=True)
class Choice:
    """The winner for one chunk (samples at the model's rate).

    `queue_ms` is the shortest queue that ran without a miss, None where none was tried or did.
    `ratio_db` is the signal to difference against eager; `p50_ms` what a paced step took.
    """

    engine: str
    precision: str
    chunk: int
    ratio_db: float
    p50_ms: float
    versions: dict[str, str]
    queue_ms: float | None = None


@dataclass(frozen=True)
class Record:
    """`chunk` is that of the smallest latency that ran without a miss, one of the `choices`'."""

    model: str
    processor: str
    date: str
    chunk: int
    choices: tuple[Choice, ...]


def versions(engine: str) -> dict[str, str]:
    """Of what an engine's choice holds for."""
    from rtsep.engines import libraries

    return {"rtsep": __version__} | {name: cache.version_of(name) for name in libraries(engine)}


def write(digest: str, record: Record) -> Path:
    """Keeps a model's record, in the place of an older one. Raises `OSError` where it can't."""
    path = _path(digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(asdict(record), file, indent=2)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def read(digest: str) -> Record | None:
    """None where there is none, or where it is not readable as one."""
    try:
        found = json.loads(_path(digest).read_text())
        choices = tuple(Choice(**choice) for choice in found.pop("choices"))
        return Record(**found, choices=choices)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def find(digest: str, chunk: int | None) -> tuple[Choice | None, str | None]:
    """The choice for a chunk, or for the record's own; or one line on why it is ignored."""
    record = read(digest)
    if record is None:
        return None, None
    wanted = record.chunk if chunk is None else chunk
    choice = next((choice for choice in record.choices if choice.chunk == wanted), None)
    if choice is None:
        return None, None
    changed = "the processor" if record.processor != cache.processor() else _changed(choice)
    if changed is None:
        return choice, None
    return None, (
        f"what was tuned for {record.model} on {record.date} is ignored: {changed} changed since; "
        "rtsep tune measures anew"
    )


def _changed(choice: Choice) -> str | None:
    """What an engine's choice was measured with, where that is another by now."""
    try:
        now = versions(choice.engine)
    except KeyError:
        return f"engine {choice.engine}"
    for name in choice.versions | now:
        if choice.versions.get(name) != now.get(name):
            return f"{name} ({choice.versions.get(name)}, now {now.get(name)})"
    return None


def _path(digest: str) -> Path:
    return cache.folder() / "tuned" / f"{digest}.json"
