"""`rtsep models`: what ships."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def command(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the models that ship: stems, rate, hop, latency, size, scores."""
    from rtsep.models import find, shipped

    rows = [_row(find(name)) for name in shipped()]
    if as_json:
        print(json.dumps({"models": rows}, indent=2))
        return

    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    # As wide as a terminal is at least.
    table = Table("model", "stems", "rate", "hop", "latency", "size", "scores", box=SIMPLE_HEAD)
    for row in rows:
        table.add_row(
            row["name"],
            "\n".join(_marked(stem, row) for stem in row["stems"]),
            f"{row['rate'] / 1000:g} kHz",
            f"{row['hop']} ({row['hop_ms']:g} ms)",
            f"{row['latency']} ({row['latency_ms']:g} ms)",
            f"{row['parameters'] / 1e6:.2f} M",
            _scores(row) or "not measured",
        )
    console = Console()
    console.print(table)
    console.print("* heard when nothing else is asked for; + takes what the others leave")
    console.print("latency in samples and ms; size in parameters; scores: see the cards")


def _row(path: Path) -> dict:
    from rtsep.checkpoints import parameter_count, read_spec

    spec = read_spec(path)
    return {
        "name": spec.name,
        "architecture": spec.arch,
        "stems": list(spec.stems),
        "primary": spec.primary,
        "remainder": spec.remainder,
        "rate": spec.rate,
        "channels": spec.channels,
        "hop": spec.hop,
        "hop_ms": 1e3 * spec.hop / spec.rate,
        "latency": spec.latency,
        "latency_ms": 1e3 * spec.latency / spec.rate,
        "parameters": parameter_count(path),
        "bytes": path.stat().st_size,
        "metrics": spec.card.get("metrics", {}),
        "card": spec.card,
    }


def _scores(row: dict) -> str:
    """Mean improvement of SI-SDR on the development set, by stem."""
    means = {
        stem: row["metrics"].get(f"{stem}_si_sdr_i_db", {}).get("mean") for stem in row["stems"]
    }
    return "\n".join(f"{mean:+.1f} dB" for mean in means.values() if mean is not None)


def _marked(stem: str, row: dict) -> str:
    return stem + "*" * (stem == row["primary"]) + "+" * (stem == row["remainder"])
