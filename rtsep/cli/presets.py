"""`rtsep presets`: what there is, what one says, where they are."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    help="Presets: options of `run` and its controls, in TOML files.", invoke_without_command=True
)
Name = Annotated[str, typer.Argument(help="A preset's name, or a file.", metavar="NAME|FILE")]


@app.callback()
def presets(ctx: typer.Context) -> int | None:
    """Presets: options of `run` and its controls, in TOML files. Alone: lists them."""
    return list_() if ctx.invoked_subcommand is None else None


@app.command("list")
def list_() -> int:
    """All presets, a line each."""
    from rtsep.live.presets import folder, names

    for name in names():
        print(name)
    if not names():
        print(f"no preset yet: one is a file NAME.toml in {folder()}")
    return 0


@app.command()
def show(ctx: typer.Context, name: Name) -> int:
    """A preset's text, checked."""
    from rtsep.cli.run_preset import defaults
    from rtsep.live.presets import load

    preset = load(name)
    defaults(preset, ctx.find_root().command.commands["run"])
    print(preset.document.path.read_text(encoding="utf-8"), end="")
    return 0


@app.command()
def path(name: Annotated[str | None, typer.Argument(help="A preset's name.")] = None) -> int:
    """The file of a preset, or the folder of them all."""
    from rtsep.live.presets import folder, place

    print(folder() if name is None else place(name))
    return 0
