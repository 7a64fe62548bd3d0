"""`rtsep models`: what ships, and what can be built."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from rtsep.cli.options import AsJson


def command(
    architectures: Annotated[
        bool, typer.Option("--architectures", help="What each architecture costs, instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the models that ship: stems, rate, hop, latency, size, scores.

    With --architectures, every architecture in every configuration: parameters, hop, latency,
    multiply-accumulates a second, and the bytes of weights and state that a step touches.
    """
    rows = _architectures() if architectures else _shipped()
    if as_json:
        print(json.dumps({"architectures" if architectures else "models": rows}, indent=2))
    elif architectures:
        _show_architectures(rows)
    else:
        _show_models(rows)


def _shipped() -> list[dict]:
    from rtsep.models import find, shipped

    return [_row(find(name)) for name in shipped()]


def _architectures() -> list[dict]:
    from rich.console import Console

    from rtsep import costs

    rows = []
    with Console(stderr=True).status("") as status:
        for row in costs.table():
            rows.append(row)
            status.update(f"after {row['architecture']} {row['configuration'] or ''}")
    return rows


def _show_models(rows: list[dict]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    # As wide as a terminal is at least.
    table = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for head in ("model", "stems", "rate", "hop", "latency", "size", "scores"):
        table.add_column(head, no_wrap=True)
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


def _show_architectures(rows: list[dict]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("architecture", no_wrap=True)
    for head in ("kHz", "size", "hop", "latency", "GMAC/s", "weights", "state"):
        table.add_column(head, justify="right", no_wrap=True)
    before = None
    for row in rows:
        if row["architecture"] != before:
            before = row["architecture"]
            table.add_row(f"[bold]{before}[/]")
        name = f"  {row['configuration'] or '(as it is)'}"
        if "missing" in row:
            table.add_row(name, "not installed")
            continue
        table.add_row(
            name,
            f"{row['rate'] / 1000:g}",
            f"{row['parameters'] / 1e6:.2f}",
            f"{row['hop']}",
            f"{row['latency']} = {_ms(row['latency_ms'])} ms",
            f"{row['macs'] / 1e9:.3g}",
            f"{row['weight_bytes'] / 1e6:.1f}",
            f"{row['state_bytes'] / 1e6:.3g}",
        )
    console = Console()
    console.print(table)
    for row in rows:
        if "missing" in row:
            console.print(f"{row['architecture']} {row['configuration']}: {row['missing']}")
    console.print("hop and latency in samples; size in millions of parameters; GMAC/s: products")
    console.print("per second of sound, in thousand millions; weights: MB that a step of one hop")
    console.print("reads; state: MB that it reads and writes again (float32)")


def _ms(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


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
