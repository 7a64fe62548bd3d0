"""The architectures, one per file, and the weights that ship."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rtsep.errors import WrongCall

if TYPE_CHECKING:
    from rtsep.models.base import Separator

_ARCHITECTURES = ("convtasnet",)
_WEIGHTS = Path(__file__).parent.parent / "weights"


def architectures() -> tuple[str, ...]:
    """The names that `create` knows."""
    return _ARCHITECTURES


def create(arch: str, **params) -> Separator:
    """A model with fresh random weights. `params` are its class's keyword arguments.

    Raises `WrongCall` for an unknown architecture or parameter.
    """
    if arch not in _ARCHITECTURES:
        raise WrongCall(f"no architecture {arch!r}; there is {', '.join(_ARCHITECTURES)}")
    from rtsep.models.convtasnet import ConvTasNet

    network = {"convtasnet": ConvTasNet}[arch]
    try:
        return network(**params)
    except (TypeError, ValueError) as error:
        said = str(error).removeprefix(f"{network.__name__}.__init__() ")
        raise WrongCall(f"{arch}: {said}") from None


def shipped() -> tuple[str, ...]:
    """The names of the models whose weights are in the package."""
    return tuple(sorted(file.stem for file in _WEIGHTS.glob("*.safetensors")))


def find(name_or_path: str | Path) -> Path:
    """The checkpoint of a shipped model, or the file itself. Needs no torch.

    Raises `WrongCall` where there is neither.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    if str(name_or_path) in shipped():
        return _WEIGHTS / f"{name_or_path}.safetensors"
    known = ", ".join(shipped()) or "none"
    raise WrongCall(f"no model {str(name_or_path)!r}: neither a file nor one that ships ({known})")
