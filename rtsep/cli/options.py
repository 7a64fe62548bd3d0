"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Arch = Annotated[
    str | None, typer.Option(help="An architecture with random weights, in place of a model.")
]
Config = Annotated[
    str | None, typer.Option(help="With --arch: one of its configurations. Default: the first.")
]
FullBand = Annotated[
    bool, typer.Option(help="Share what lies above the model's band among the stems.")
]
