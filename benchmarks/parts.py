"""What the benchmarks share: models by short names, and results that grow row by row.

A part that was cut off goes on where it ended: rows that are there, measured on this machine with
these versions, are not measured again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from rtsep import benchmark, engines, untrained
from rtsep.errors import Failure

RESULTS = Path(__file__).parent / "results"


def model_path(name: str) -> str:
    """A shipped model's name or a path as it is; ARCH/CONFIG with random weights."""
    arch, slash, config = name.partition("/")
    if not slash or Path(name).exists():
        return name
    return str(untrained.checkpoint(arch, config, print))


def chunk_of(spec, ms: float) -> int:
    """Samples of a chunk that lasts about so long: whole hops of a model."""
    return spec.hop * max(1, round(ms * spec.rate / 1000 / spec.hop))


def kinds(names: list[str] | None, precisions: list[str] | None = None) -> list[tuple[str, str]]:
    """(engine, precision) of all that is there, or is named; what is for checks alone left out."""
    there = [name for name, missing in engines.available().items() if missing is None]
    return [
        (name, precision)
        for name in (names or there)
        for precision in engines.precisions(name)
        if precision in (precisions or [precision]) and precision != "float64"
    ]


class Report:
    """A result file: `machine` and `versions`, then rows, each written as soon as it is there."""

    def __init__(self, path: Path, resume: bool, **extra) -> None:
        self.path = path
        self.content = {
            "machine": benchmark.machine(),
            "versions": benchmark.versions(),
            **extra,
            "results": [],
        }
        if resume and path.exists():
            before = json.loads(path.read_text())
            machines = before["machine"], self.content["machine"]
            alike = all(machines[0].get(k) == machines[1][k] for k in ("processor", "core"))
            if alike and before["versions"] == self.content["versions"]:
                # What failed is tried again: it may have been mended.
                self.content["results"] = [r for r in before["results"] if "error" not in r]

    def row(self, key: dict, make: Callable[[], dict]) -> dict:
        """The row of this key: the one that is there, else what `make` adds to it."""
        for row in self.content["results"]:
            if all(row.get(name) == value for name, value in key.items()):
                return row
        try:
            row = key | make()
        except Failure as failure:
            row = key | {"error": str(failure)}
        self.content["results"].append(row)
        self.write()
        print(json.dumps(row), flush=True)
        return row

    def write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.content, indent=2) + "\n")
