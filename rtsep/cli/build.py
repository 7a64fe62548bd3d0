"""`rtsep build`: engines built ahead, into the cache or into a package."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from rtsep.cli.options import Arch, AsJson, Config, Model


def command(
    model: Model = None,
    arch: Arch = None,
    config: Config = None,
    engine: Annotated[
        list[str] | None,
        typer.Option("--engine", help="Build this one; may be repeated. Default: auto."),
    ] = None,
    chunk: Annotated[
        list[int] | None,
        typer.Option("--chunk", help="Samples at the model's rate; may be repeated."),
    ] = None,
    precision: Annotated[
        list[str] | None, typer.Option("--precision", help="May be repeated. Default: float32.")
    ] = None,
    batch: Annotated[int, typer.Option(help="Rows: streams, or a mono model's channels.")] = 1,
    every: Annotated[
        bool, typer.Option("--all", help="Every engine that is there, in all its precisions.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Make a package: model and engines, to be started with --model DIR."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Build engines ahead, so that the first start is as quick as any other.

    Ends with exit code 1 where one that was asked for by name can't be built.
    """
    from rich.console import Console

    from rtsep import engines, untrained
    from rtsep.engines import package
    from rtsep.errors import Failure, WrongCall
    from rtsep.models import find

    chosen = untrained.choose(model, arch, config)
    if every and (engine or precision):
        raise WrongCall("--all: it is every engine and precision; leave --engine, --precision out")
    if every:
        names = [name for name, missing in engines.available().items() if missing is None]
        cases = [(name, kind) for name in names for kind in engines.precisions(name)]
    else:
        cases = [(name, kind) for name in engine or ["auto"] for kind in precision or [None]]
    rows = []
    making = nullcontext() if out is None else package.making(out, find(chosen))
    with making as complete, Console(stderr=True).status("") as status:
        for name, kind in cases:
            for samples in chunk or [None]:
                begun = time.perf_counter()
                named = " ".join(filter(None, (name, kind)))
                row = {"engine": name, "precision": kind, "chunk": samples, "batch": batch}
                try:
                    built = engines.build(
                        chosen,
                        name,
                        chunk=samples,
                        batch=batch,
                        precision=kind,
                        progress=lambda text, named=named: status.update(f"{named}: {text}"),
                    )
                    spec = built.spec
                    row |= {"engine": spec.engine, "precision": spec.precision}
                    row |= {"chunk": spec.chunk, "reason": spec.reason, "error": None}
                    built.close()
                except Failure as failure:
                    if isinstance(failure, WrongCall) and not every:
                        raise
                    row |= {"reason": None, "error": str(failure)}
                rows.append(row | {"seconds": round(time.perf_counter() - begun, 2)})
        done = [row for row in rows if row["error"] is None]
        if complete is not None and done:
            complete(done)
    if as_json:
        print(json.dumps({"built": rows, "package": None if out is None else str(out)}, indent=2))
    else:
        for row in rows:
            print(_line(row))
        if out is not None and done:
            print(f"package: {out}")
    return 0 if done and (every or len(done) == len(rows)) else 1


def _line(row: dict) -> str:
    named = f"{row['engine']} in {row['precision'] or 'its own precision'}"
    if row["error"] is not None:
        return f"{named}: not built: {row['error']}"
    return f"{named}, chunks of {row['chunk']} samples: {row['seconds']:.1f} s ({row['reason']})"
