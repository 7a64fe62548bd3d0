"""`rtsep eval`: how well a model separates a set, streamed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated

import typer

from rtsep.cli.options import AsJson, Precision


def command(
    set_: Annotated[
        Path, typer.Option("--set", help="A folder of CASE/mix.wav and CASE/STEM.wav.")
    ],
    model: Annotated[
        str, typer.Option(help="A model that ships, or a checkpoint.", metavar="NAME|FILE")
    ] = "convtasnet",
    engine: Annotated[str, typer.Option(help="What runs the model.", metavar="NAME")] = "auto",
    chunk: Annotated[
        int | None, typer.Option(help="Samples per step at the model's rate.", metavar="N")
    ] = None,
    precision: Precision = None,
    gain: Annotated[
        list[float] | None,
        typer.Option(help="Score it again with so many dB on the mixture; may be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score a model on mixtures with known stems: SI-SDR and its improvement, in dB."""
    from rich.console import Console

    from rtsep.checkpoints import read_spec
    from rtsep.evaluation.score import score
    from rtsep.models import find

    spec = read_spec(find(model))
    with Console(stderr=True).status("") as status:
        result = score(
            model,
            set_,
            engine=engine,
            chunk=chunk,
            precision=precision,
            gains=tuple(gain or ()),
            progress=lambda done, count: status.update(f"{done} of {count} cases"),
        )
    ran = result.pop("ran")
    result = {"model": spec.name, **ran, "set": str(set_)} | result
    if as_json:
        print(json.dumps(_finite(result), indent=2))
    else:
        _show(result, Console())


def _finite(value):
    """JSON knows no NaN and no infinity: null stands for what has no number."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value


def _show(result: dict, console) -> None:
    from rich import box
    from rich.table import Table

    stems = list(result["stems"])
    table = Table("case", *stems, box=box.SIMPLE_HEAD, title="improvement of SI-SDR, dB")
    for case in result["cases"]:
        scores = (case["stems"].get(stem, {}).get("si_sdr_i", math.nan) for stem in stems)
        table.add_row(case["name"], *(f"{value:+.2f}" for value in scores))
    console.print(table)
    for stem in stems:
        console.print(f"{stem}: {_means(result['stems'][stem])}")
    for level in result["levels"]:
        for stem in stems:
            console.print(f"{level['gain_db']:+g} dB, {stem}: {_means(level['stems'][stem])}")


def _means(scores: dict) -> str:
    gained, reached = scores["si_sdr_i"], scores["si_sdr"]
    return (
        f"{gained['mean']:+.2f} dB better in the mean, {gained['median']:+.2f} in the median "
        f"(SI-SDR {reached['mean']:.2f} and {reached['median']:.2f} dB)"
    )
