"""`rtsep tune`: what runs a model best on this machine, kept for `--engine auto`."""

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
        typer.Option("--engine", help="Try this one; may be repeated. Default: all there are."),
    ] = None,
    precision: Annotated[
        list[str] | None, typer.Option("--precision", help="Try this one; may be repeated.")
    ] = None,
    chunk: Annotated[
        list[int] | None,
        typer.Option("--chunk", help="Samples at the model's rate. Default: about 2, 4, 8, 16 ms."),
    ] = None,
    seconds: Annotated[float, typer.Option(help="For each chunk, and for each live run.")] = 5.0,
    least: Annotated[
        float,
        typer.Option(
            "--accept", help="The signal to difference below which it is refused.", metavar="DB"
        ),
    ] = 30.0,
    live: Annotated[
        bool, typer.Option("--live/--no-live", help="Look for the shortest queue in real runs.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Time every engine, precision and chunk, and keep the best for `--engine auto`."""
    from rich.console import Console

    from rtsep import untrained
    from rtsep.tuning import tune

    chosen = untrained.choose(model, arch, config)
    with Console(stderr=True).status("") as status:
        found = tune(
            chosen,
            names=engine,
            precisions=precision,
            chunks=chunk,
            seconds=seconds,
            least_db=least,
            live=live,
            say=status.update,
        )
    if as_json:
        print(json.dumps(found.as_json(), indent=2))
    else:
        _show(found, Console())


def _show(found, console) -> None:
    from rich import box
    from rich.table import Table

    names = ("chunk", "engine", "precision", "p50 ms", "p99 ms", "late", "dB", "max error", "")
    table = Table(*names, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    winners = {(c.chunk, c.engine, c.precision) for c in found.record.choices}
    for trial in found.trials:
        wins = "best" if (trial.chunk, trial.engine, trial.precision) in winners else ""
        figures = [""] * 5
        if trial.step_ms is not None:
            figures = [f"{trial.step_ms[name]:.3f}" for name in ("p50", "p99")]
            figures += [str(trial.misses), f"{trial.ratio_db:.0f}", f"{trial.error:.1e}"]
        said = f"refused: {trial.refused}" if trial.refused else wins
        table.add_row(str(trial.chunk), trial.engine, trial.precision, *figures, said)
    console.print(table)
    for run in found.runs:
        if not run["misses"]:
            console.print(
                f"chunk {run['chunk']}: no miss at a queue of {run['queue_ms']:g} ms, "
                f"{run['latency_ms']:.2f} ms in all"
            )
    record = found.record
    best = next(choice for choice in record.choices if choice.chunk == record.chunk)
    console.print(
        f"auto for {record.model}: {best.engine} in {best.precision}, chunks of {best.chunk}"
    )
