"""Which runs there are on this machine, for whoever wants to watch or control one.

A run that has begun has a small JSON file in the folder "runs" of the user's cache, `BLOCK.json`:
its block's name, the process and the model. All else is in the block: see `description.py`.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from rtsep.engines import cache
from rtsep.errors import Failure, WrongCall
from rtsep.live.layout import Block


@dataclass(frozen=True)
class Run:
    """`block`: the name to attach to."""

    block: str
    pid: int
    model: str


def folder() -> Path:
    """Where these files are; it need not exist."""
    return cache.folder() / "runs"


def announce(block: str, model: str) -> None:
    """A run of this process has begun. Where the folder can't be written to, nobody finds it."""
    path = _file(block)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".part").write_text(json.dumps(asdict(Run(block, os.getpid(), model))))
        path.with_suffix(".part").replace(path)
    except OSError:
        pass


def withdraw(block: str) -> None:
    """It is over, or never began."""
    try:
        _file(block).unlink(missing_ok=True)
    except OSError:
        pass


def runs() -> list[Run]:
    """All that go on, the newest last. What killed runs left behind is removed."""
    found = []
    for path in folder().glob("*.json"):
        try:
            run = Run(**json.loads(path.read_text()))
            Block.attach(run.block).close()
            found.append((path.stat().st_mtime, run))
        except (OSError, ValueError, TypeError, Failure):
            path.unlink(missing_ok=True)
    return [run for _, run in sorted(found, key=lambda entry: entry[0])]


def find(name: str | None = None) -> Run:
    """The run of this block, process or model; without a name, the only one. Raises `WrongCall`."""
    there = runs()
    names = ", ".join(f"{run.pid} ({run.model})" for run in there) or "none"
    matches = [r for r in there if name is None or name in (r.block, str(r.pid), r.model)]
    if len(matches) != 1:
        what = "no such run" if not matches else "more than one"
        raise WrongCall(f"{'a run' if name is None else f'run {name!r}'}: {what}; running: {names}")
    return matches[0]


def _file(block: str) -> Path:
    return folder() / f"{block.strip('/')}.json"
