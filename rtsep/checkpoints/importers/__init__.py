"""Public checkpoints made ours: one file per format, each of which states that format's keys.

Each file has `build`, which makes the model, and `KEYS`, by which `detect` knows its tensors.
`convert` takes tensors by the public names and settings by the public names too; `read` gets both
from a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from rtsep.checkpoints.format import read_spec
from rtsep.errors import Failure, WrongCall

if TYPE_CHECKING:
    from torch import Tensor

    from rtsep.models.base import Separator

FORMATS = (
    "asteroid",
    "naplab",
    "cadenza",
    "nussl",
    "denoiser",
    "demucs",
    "openunmix",
    "hstasnet",
    "unet",
    "waveunet",
)


def detect(tensors: Iterable[str]) -> str:
    """The format of a checkpoint with tensors of these names.

    Raises `Failure` where it is none of `FORMATS`.
    """
    found = _known(list(tensors))
    if len(found) != 1:
        accepted = ", ".join(found or FORMATS)
        raise Failure(f"the tensors' names don't tell the format: name it, one of {accepted}")
    return found[0]


def read(
    path: str | Path, format: str | None = None, config: str | Path | dict | None = None, **options
) -> Separator:
    """The model of a public checkpoint: a `.pt` file, read without running code, or safetensors.

    `format` is one of `FORMATS`; None tells it by the names of the tensors. `config` is a JSON
    file, or its content: the arguments of the public class, by name, for what neither the tensors
    nor the checkpoint say. `options` as in `convert`.

    Raises `WrongCall` for an unknown format, `Failure` for all in the file that does not fit.
    """
    return convert(*fetch(path, format, config), **options)


def fetch(
    path: str | Path, format: str | None = None, config: str | Path | dict | None = None
) -> tuple[dict[str, Tensor], str, dict]:
    """What `read` hands to `convert`: tensors, format and settings of a public checkpoint."""
    from rtsep.checkpoints.importers.files import read_config, read_tensors

    if format is not None:
        _reader(format)
    _refuse_ours(Path(path))
    tensors, stored = read_tensors(Path(path))
    given = config if isinstance(config, dict) else read_config(config)
    return tensors, format or detect(tensors), {**stored, **given}


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

    Raises `WrongCall` for an unknown format, `Failure` where the tensors are another's or do not
    fit.
    """
    from rtsep.checkpoints.importers.settings import Settings
    from rtsep.checkpoints.importers.tensors import Tensors

    public = Tensors(tensors)
    settings = Settings(config, rate=rate)
    roles = {"stems": stems, "primary": primary, "remainder": remainder}
    reader, others = _reader(format), _known(list(tensors))
    if others and format not in others:
        raise Failure(f"the tensors are those of {' or '.join(others)}, not of {format}")
    model = reader.build(public, settings, roles)
    public.all_used()
    return model.eval()


def _refuse_ours(path: Path) -> None:
    try:
        spec = read_spec(path)
    except Failure:
        return
    raise Failure(f"{path} is rtsep's already ({spec.arch}): --model takes it as it is")


def _known(names: list[str]) -> list[str]:
    """The formats all of whose keys are among these names."""
    return [
        format
        for format in FORMATS
        if all(any(re.match(key, name) for name in names) for key in _reader(format).KEYS)
    ]


def _reader(format: str):
    if format not in FORMATS:
        raise WrongCall(f"no format {format!r}; there is {', '.join(FORMATS)}")
    return import_module(f"rtsep.checkpoints.importers.{format}")
