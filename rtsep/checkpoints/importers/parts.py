"""A Conv-TasNet filled part by part, for the public formats that hold one."""

from __future__ import annotations

from torch import Tensor, nn

from rtsep.checkpoints.importers.roles import named
from rtsep.checkpoints.importers.tensors import Tensors
from rtsep.layers import Conv, ConvTranspose
from rtsep.models import create
from rtsep.models.convtasnet import ConvTasNet, MaskNetwork

NORM = ("weight", "bias")


def new_model(roles: dict, masks: int, **params) -> ConvTasNet:
    """A model of these parameters, whose stems are named as `roles` says, if it does."""
    return create("convtasnet", **params, **named(roles, masks))


def fill(
    model: ConvTasNet, public: Tensors, keys: dict[str, str], decoder: Tensor | None = None
) -> None:
    """Puts public tensors into the model.

    `keys` maps our names (`encoder.weight`, `decoder.weight`, and those of `MaskNetwork`) to the
    public ones. `decoder` is the decoder's weight where it is stored in another layout.
    """
    named = {"encoder": _part(model, Conv), "decoder": _part(model, ConvTranspose)}
    filled = {f"{name}.weight": part.weight for name, part in named.items()}
    filled |= dict(_part(model, MaskNetwork).named_parameters())
    for name, parameter in filled.items():
        if name == "decoder.weight" and decoder is not None:
            value = decoder
        else:
            value = public.take(keys[name], *parameter.shape)
        parameter.data = value.clone()


def norm_keys(ours: str, public: str, gain: str, bias: str) -> dict[str, str]:
    """The two keys of a norm."""
    return {f"{ours}.weight": f"{public}.{gain}", f"{ours}.bias": f"{public}.{bias}"}


def product_keys(ours: str, public: str) -> dict[str, str]:
    """The two keys of a product or convolution."""
    return {f"{ours}.{part}": f"{public}.{part}" for part in NORM}


def _part(model: ConvTasNet, kind: type[nn.Module]):
    return next(part for part in model.modules() if isinstance(part, kind))
