"""Public checkpoints made ours: one file per format, each of which states that format's keys.

`convert` takes tensors by the public names and settings by the public names too; `read` gets both
from a file.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from rtsep.errors import WrongCall

if TYPE_CHECKING:
    from torch import Tensor

    from rtsep.models.base import Separator

FORMATS = ("asteroid", "naplab", "cadenza")


def read(
    path: str | Path, format: str, config: str | Path | dict | None = None, **options
) -> Separator:
    """The model of a public checkpoint: a `.pt` file, read without running code, or safetensors.

    `config` is a JSON file, or its content: the arguments of the public class, by name, for what
    neither the tensors nor the checkpoint say. `options` as in `convert`.

    Raises `WrongCall` for an unknown format, `Failure` for all in the file that does not fit.
    """
    from rtsep.checkpoints.importers.files import read_config, read_tensors

    _reader(format)
    tensors, stored = read_tensors(Path(path))
    given = config if isinstance(config, dict) else read_config(config)
    return convert(tensors, format, {**stored, **given}, **options)


def convert(
    tensors: dict[str, Tensor],
    format: str,
    config: dict,
    *,
    rate: int | None = None,
    stems: tuple[str, ...] | None = None,
    primary: str | None = None,
    remainder: str | None = None,
) -> Separator:
    """The model that these tensors make, ready to run.

    Args:
        config: arguments of the public class, by name.
        rate: in Hz; None is what the config says.
        stems: their names, in the order of the outputs; None is stem1, stem2, …
        primary, remainder: the stem heard by default, and the one that takes what the others leave.
    """
    from rtsep.checkpoints.importers.settings import Settings
    from rtsep.checkpoints.importers.tensors import Tensors

    public = Tensors(tensors)
    settings = Settings(config, rate=rate)
    roles = {"stems": stems, "primary": primary, "remainder": remainder}
    model = _reader(format).build(public, settings, roles)
    public.all_used()
    return model.eval()


def _reader(format: str):
    if format not in FORMATS:
        raise WrongCall(f"no format {format!r}; there is {', '.join(FORMATS)}")
    return import_module(f"rtsep.checkpoints.importers.{format}")
