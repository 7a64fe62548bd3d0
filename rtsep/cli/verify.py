"""`rtsep verify`: is the stream what the model gives offline, in every engine, and that late?"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from rtsep.cli.options import Arch, AsJson, Config, Model


def command(
    model: Model = None,
    arch: Arch = None,
    config: Config = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            "--engine", help="Check this one; may be repeated. Default: all that build in seconds."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check that a model streams what it gives offline, and how late it is.

    Ends with exit code 1 where a check fails.
    """
    from rtsep import untrained
    from rtsep.checkpoints import read_spec
    from rtsep.models import find
    from rtsep.verification import verify

    chosen = untrained.choose(model, arch, config)
    verdict = verify(chosen, _engines(engine))
    if as_json:
        _print_json(verdict)
    else:
        _print_table(read_spec(find(chosen)).name, verdict)
    if not verdict.ok:
        raise typer.Exit(1)


def _engines(names: list[str] | None) -> list[str]:
    """Those asked for, each once; else `eager` and every other that is there and builds soon."""
    from rtsep.engines import AUTO, SLOW, available

    there = [name for name, missing in available().items() if missing is None]
    usable = [name for name in there if name not in SLOW]
    asked = [AUTO if name == "auto" else name for name in names or usable]
    return list(dict.fromkeys(sorted(asked, key=lambda name: name != "eager")))


def _print_json(verdict) -> None:
    checks = [
        {"engine": c.engine, "dtype": c.dtype, "error": c.error, "bound": c.bound, "ok": c.ok}
        for c in verdict.checks
    ]
    latency = {"declared": verdict.declared, "measured": verdict.measured}
    print(json.dumps({"checks": checks, "latency": latency, "ok": verdict.ok}, indent=2))


def _print_table(model: str, verdict) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("engine", "type", "error", "bound", "", title=model)
    for c in verdict.checks:
        table.add_row(c.engine, c.dtype, f"{c.error:.1e}", f"{c.bound:.0e}", _word(c.ok))
    console = Console()
    console.print(table)
    found = "at no shift equal to the plain form" if verdict.measured is None else verdict.measured
    same = _word(verdict.measured == verdict.declared)
    console.print(f"latency in samples: {verdict.declared} declared, {found} measured  {same}")


def _word(ok: bool) -> str:
    return "[green]ok[/]" if ok else "[red]not ok[/]"
