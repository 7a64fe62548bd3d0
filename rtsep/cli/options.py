"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Model = Annotated[str | None, typer.Argument(help="A shipped model's name, or a checkpoint.")]
LiveModel = Annotated[
    str | None, typer.Option(help="A model's name, or a checkpoint file. Default: convtasnet.")
]
Arch = Annotated[
    str | None, typer.Option(help="An architecture with random weights, in place of a model.")
]
Config = Annotated[
    str | None, typer.Option(help="With --arch: one of its configurations. Default: the first.")
]
FullBand = Annotated[
    bool, typer.Option(help="Share what lies above the model's band among the stems.")
]
Precision = Annotated[
    str | None, typer.Option(help="What the engine computes in. Default: as tuned, or float32.")
]
HostApi = Annotated[str | None, typer.Option(help="Devices of this host API only.", metavar="NAME")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
