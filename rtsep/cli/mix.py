"""`rtsep mix`: the mixtures of a committed list, written as a set to score on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    recipe: Annotated[str, typer.Argument(help="A recipe: one that ships, or a TOML file.")],
    data: Annotated[Path, typer.Option(help="The data folder, with index.csv.")],
    out: Annotated[Path, typer.Option(help="Write DIR/CASE/{mix,voice,background}.wav.")],
    split: Annotated[
        str | None, typer.Option(help="Which list. Default: the recipe's development set.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Write the development set: always the same, of sounds that no training hears."""
    from rtsep.errors import Failure
    from rtsep.evaluation import sets
    from rtsep.training import recipe as recipes
    from rtsep.training.corpus import decode_some
    from rtsep.training.split import read_list

    plan = recipes.read(recipe)
    rows = read_list(f"{split or plan.development}-mixtures")
    taken = [row["case"] for row in rows if (out / row["case"]).exists()]
    if taken and not overwrite:
        raise Failure(f"{out / taken[0]} exists: --overwrite replaces it")
    corpus = decode_some(data, {path for row in rows for path in sets.paths(row)})
    for row in rows:
        sets.write(out / row["case"], sets.render(corpus, row), ("voice", "background"))
    print(f"{out}: {len(rows)} mixtures of {sets.SECONDS} s")
