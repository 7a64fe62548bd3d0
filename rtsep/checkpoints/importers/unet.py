"""ws-choi's `UNET` (github.com/ws-choi/Conditioned-U-Net-pytorch, MIT): Jansson's, without control.

A plain state dict. Centred convolutions, each with a batch norm; LeakyReLU of torch's slope in the
encoder; the lowest bin is not seen and stays as it is; a centred, reflected Hann spectrum. Layers,
filters, kernel and channels come from the keys and shapes; `stride` (2 by 2 where it is not told),
the spectrum (`n_fft` 512, `hop_length` half of it) and `sample_rate` don't. With `blocks`, an
object of window, hop, lookahead and crossfade in samples, it runs in blocks; without it streams,
its look-ahead being latency.
"""

from __future__ import annotations

import torch

from rtsep.checkpoints.importers.roles import named
from rtsep.checkpoints.importers.settings import Settings
from rtsep.checkpoints.importers.tensors import Tensors
from rtsep.errors import Failure
from rtsep.layers import BatchNorm, Conv2d, ConvTranspose2d
from rtsep.models import create
from rtsep.models.base import Separator

_DOWN, _UP = "encoders.{}.conv_layer.conv", "decoders.{}.deconv_layer.deconv"

# Tensors by which the format is known, as regular expressions.
KEYS = (
    r"encoders\.0\.conv_layer\.conv\.weight",
    r"decoders\.0\.deconv_layer\.deconv\.weight",
)


def build(public: Tensors, settings: Settings, roles: dict) -> Separator:
    """The model; `Failure` for what does not fit."""
    filters, channels, *kernel = public.sizes(f"{_DOWN.format(0)}.weight", 4)
    layers = len(public.numbers(r"encoders\.(\d+)\.conv_layer\."))
    settings.agree(n_layers=layers, input_channels=channels, filters_layer_1=filters)
    if (given := settings.get("kernel_size", list, list(kernel))) != kernel:
        raise Failure(f"kernel_size is {given} by the settings, {kernel} by the tensors")
    (rate,) = settings.need_rate("sample_rate")
    window = settings.get("n_fft", int, 512)
    # One mask makes one stem; a second name is that of what it leaves.
    left = len(roles["stems"] or ()) == 2
    roles = named(roles, 1 + left)
    if left and roles["remainder"] not in (None, roles["stems"][1]):
        raise Failure(f"{roles['stems'][1]!r} is what is left: the remainder")
    model = create(
        "unet",
        rate=rate,
        channels=channels,
        window=window,
        hop=settings.get("hop_length", int, window // 2),
        synthesis=None,
        padding=window // 2,
        reflect=True,
        shape="hann",
        layers=layers,
        filters=filters,
        kernel=kernel,
        stride=settings.get("stride", list, [2, 2]),
        slope=0.01,
        exponent=1.0,
        through=True,
        centred=True,
        blocks=settings.get("blocks", dict, None),
        consistency="remainder" if left else "none",
        **roles,
    )
    _fill(model, public)
    return model


def _fill(model: Separator, public: Tensors) -> None:
    """Our layers stand in the order of the signal: down to the narrowest, then up."""
    for kind, conv, block in (
        (Conv2d, _DOWN, "encoders.{}"),
        (ConvTranspose2d, _UP, "decoders.{}"),
    ):
        layers = [layer for layer in model.modules() if isinstance(layer, kind)]
        for index, layer in enumerate(layers):
            for part in ("weight", "bias"):
                tensor = getattr(layer, part)
                tensor.data = public.take(f"{conv.format(index)}.{part}", *tensor.shape).clone()
            fill_norm(layer.norm, public, f"{block.format(index)}.bn_layer")


def fill_norm(norm: BatchNorm, public: Tensors, name: str) -> None:
    """A batch norm's tensors; the count of batches says nothing here."""
    for part in ("weight", "bias", "running_mean", "running_var"):
        tensor: torch.Tensor = getattr(norm, part)
        tensor.data = public.take(f"{name}.{part}", *tensor.shape).clone()
    if (count := f"{name}.num_batches_tracked") in public:
        public.take(count)
