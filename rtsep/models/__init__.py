"""The architectures, one per file, and the weights that ship."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from rtsep.errors import WrongCall

if TYPE_CHECKING:
    from rtsep.models.base import Separator

# Name -> its module here, and its class there.
_ARCHITECTURES = {
    "convtasnet": ("convtasnet", "ConvTasNet"),
    "openunmix": ("openunmix", "OpenUnmix"),
    "hstasnet": ("hstasnet", "HSTasNet"),
    "maskinference": ("maskinference", "MaskInference"),
    "deepclustering": ("deepclustering", "DeepClustering"),
    "chimera": ("chimera", "Chimera"),
    "demucs": ("demucs", "Demucs"),
    "demucs-chunked": ("demucs_chunked", "DemucsChunked"),
    "unet": ("unet", "UNet"),
    "waveunet": ("waveunet", "WaveUNet"),
}
_WEIGHTS = Path(__file__).parent.parent / "weights"


def architectures() -> tuple[str, ...]:
    """The names that `create` knows."""
    return tuple(_ARCHITECTURES)


def configurations(arch: str) -> dict[str, dict]:
    """The named configurations of an architecture, as keyword arguments; the first is its default.

    Raises `WrongCall` for an unknown architecture.
    """
    return _network(arch).configurations


def create(arch: str, config: str | None = None, **params) -> Separator:
    """A model with fresh random weights.

    Args:
        arch: one of `architectures()`.
        config: one of `configurations(arch)`; None starts from the class's own defaults.
        params: keyword arguments of the class, which take precedence.

    Raises `WrongCall` for an unknown architecture, configuration or parameter.
    """
    network = _network(arch)
    if config is not None:
        if config not in network.configurations:
            known = ", ".join(network.configurations) or "none"
            raise WrongCall(f"{arch} has no configuration {config!r}; there is {known}")
        params = network.configurations[config] | params
    try:
        return network(**params)
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        # Sizes that no layer can have, found where a layer is made, are wrong parameters too.
        said = str(error).split("\n")[0].removeprefix(f"{network.__name__}.__init__() ")
        raise WrongCall(f"{arch}: {said}") from None


def shipped() -> tuple[str, ...]:
    """The names of the models whose weights are in the package."""
    return tuple(sorted(file.stem for file in _WEIGHTS.glob("*.safetensors")))


def find(name_or_path: str | Path) -> Path:
    """The checkpoint of a shipped model or in a package (a folder), or the file itself.

    Needs no torch.

    Raises `WrongCall` where there is neither.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    if (path / "package.json").is_file():
        return path / "model.safetensors"
    if str(name_or_path) in shipped():
        return _WEIGHTS / f"{name_or_path}.safetensors"
    known = ", ".join(shipped()) or "none"
    raise WrongCall(f"no model {str(name_or_path)!r}: neither a file nor one that ships ({known})")


def _network(arch: str) -> type[Separator]:
    if arch not in _ARCHITECTURES:
        raise WrongCall(f"no architecture {arch!r}; there is {', '.join(_ARCHITECTURES)}")
    module, name = _ARCHITECTURES[arch]
    return getattr(import_module(f"rtsep.models.{module}"), name)
