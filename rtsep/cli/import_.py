"""`rtsep import`: a public checkpoint becomes ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    file: Annotated[Path, typer.Argument(help="A public checkpoint, .pt or safetensors.")],
    out: Annotated[Path, typer.Option(help="The checkpoint to write, X.safetensors.")],
    format: Annotated[
        str | None, typer.Option(help="Whose it is. Default: told by the tensors' names.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="JSON with arguments of the public class that FILE does not tell."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The model's name. Default: that of OUT.")
    ] = None,
    stems: Annotated[
        str | None, typer.Option(help="Names of the outputs, in order: voice,background.")
    ] = None,
    primary: Annotated[
        str | None, typer.Option(help="The stem heard by default. Default: the first.")
    ] = None,
    remainder: Annotated[
        str | None,
        typer.Option(help="The stem that takes what the others leave. Default: the last."),
    ] = None,
    rate: Annotated[int | None, typer.Option(help="Samples per second it was trained at.")] = None,
    licence: Annotated[
        str | None, typer.Option(help="The weights' licence, kept with them.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT.")] = False,
) -> None:
    """Convert a public checkpoint. What its tensors don't tell is taken from --config."""
    from rtsep.checkpoints import save
    from rtsep.checkpoints.importers import convert, fetch
    from rtsep.errors import Failure

    if out.exists() and not overwrite:
        raise Failure(f"{out} exists: --overwrite replaces it")
    tensors, format, settings = fetch(file, format, config)
    model = convert(
        tensors,
        format,
        settings,
        rate=rate,
        stems=None if stems is None else tuple(part.strip() for part in stems.split(",")),
        primary=primary,
        remainder=remainder,
    )
    card = {"imported": {"format": format, "file": file.name}}
    if model.remarks:
        card["imported"]["differs"] = list(model.remarks)
    if licence is not None:
        card["licence"] = licence
    spec = save(model, out, name=name, card=card)
    print(
        f"{out}: {spec.name}, from {format}, {', '.join(spec.stems)} at {spec.rate} Hz, "
        f"{spec.latency} samples ({1e3 * spec.latency / spec.rate:.2f} ms) late"
    )
