"""Conv-TasNet, the plain way."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rtsep.models.convtasnet import ConvTasNet, MaskNetwork
from rtsep.naive.consistency import consistent
from rtsep.naive.spectra import change, sound, spectra

_ACTIVATIONS = {
    "linear": lambda x: x,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "gelu": F.gelu,
    "swish": F.silu,
}


def separate(model: ConvTasNet, mixture: Tensor) -> Tensor:
    """(batch, channels, samples) to (batch, stems, channels, samples)."""
    p = model.params
    tensors = model.state_dict()
    inside = next(k for k, v in model.named_modules() if isinstance(v, MaskNetwork)) + "."
    masker = {k.removeprefix(inside): v for k, v in tensors.items() if k.startswith(inside)}
    basis = [v for k, v in tensors.items() if not k.startswith(inside)]
    stems = _in_filters(p, masker, *basis, mixture) if basis else _in_bins(p, masker, mixture)
    return consistent(model, stems, mixture)


def _in_filters(p: dict, masker: dict, encoder: Tensor, decoder: Tensor, mixture: Tensor) -> Tensor:
    kernel, stride, padding = p["kernel"], p["stride"], p["padding"]
    samples = mixture.shape[-1]
    frames = -(-(samples + padding) // stride)
    padded = F.pad(mixture, (padding, (frames - 1) * stride + kernel - samples - padding))
    encoded = _ACTIVATIONS[p["activation"]](F.conv1d(padded, encoder, stride=stride))

    seen = _norm(encoded, masker["norm.weight"], masker["norm.bias"], p)
    masks = _masks(masker, seen, p)

    decoded = [
        F.conv_transpose1d(encoded * mask, decoder, stride=stride) for mask in masks.unbind(1)
    ]
    return torch.stack(decoded, 1)[..., padding : padding + samples]


def _in_bins(p: dict, masker: dict, mixture: Tensor) -> Tensor:
    windows = {"window": p["kernel"], "hop": p["stride"], "synthesis": p["synthesis"]}
    spectrum = spectra(mixture, **windows)
    # Bins and channels as the weights have them.
    power = spectrum.abs().square().permute(0, 2, 1, 3).flatten(1, 2)
    shape = (power + 1e-12) ** 0.15
    seen = _norm(shape, masker["norm.weight"], masker["norm.bias"], p)
    if p["adaptation"]:
        span = p["adaptation"] * p["rate"] / p["stride"]
        seen = torch.cat([seen, change(power.mT, span).mT], 1)
    masks = _masks(masker, seen, p).unflatten(2, (spectrum.shape[2], -1)).transpose(2, 3)
    return sound(masks * spectrum[:, None], mixture.shape[-1], **windows)


def _masks(w: dict[str, Tensor], seen: Tensor, p: dict) -> Tensor:
    """(batch, seen, frames) to (batch, masks, filters, frames)."""
    stream = _product(w, "entry", seen)
    skips = torch.zeros(())
    for index in range(p["blocks"] * p["repeats"]):
        b = {k.removeprefix(f"blocks.{index}."): v for k, v in w.items()}
        y = F.prelu(_product(b, "entry", stream), b["act1.weight"])
        y = _norm(y, b["norm1.weight"], b["norm1.bias"], p)
        dilation = 2 ** (index % p["blocks"])
        y = F.conv1d(
            F.pad(y, ((p["taps"] - 1) * dilation, 0)),
            b["depthwise.weight"],
            b.get("depthwise.bias"),
            dilation=dilation,
            groups=p["hidden"],
        )
        y = _norm(F.prelu(y, b["act2.weight"]), b["norm2.weight"], b["norm2.bias"], p)
        stream = stream + _product(b, "residual", y)
        if p["skip"]:
            skips = skips + _product(b, "skip", y)
    scores = skips if p["skip"] else stream
    if p["head"]:
        scores = F.prelu(scores, w["head.weight"])
    scores = _product(w, "exit", scores).unflatten(1, (-1, len(w["norm.weight"])))
    if p["mask"] == "softmax":
        return scores.softmax(1)
    return _ACTIVATIONS[p["mask"]](scores)


def _product(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.conv1d(x, w[f"{name}.weight"][..., None], w.get(f"{name}.bias"))


def _norm(x: Tensor, gain: Tensor, bias: Tensor, p: dict) -> Tensor:
    """(batch, channels, frames): over the channels of one frame, or of all so far."""
    if p["norm"] == "frame":
        mean, power = x.mean(1, keepdim=True), x.square().mean(1, keepdim=True)
    else:
        heard = x.shape[1] * torch.arange(1, x.shape[2] + 1, dtype=x.dtype)
        mean = x.sum(1, keepdim=True).cumsum(2) / heard
        power = x.square().sum(1, keepdim=True).cumsum(2) / heard
    deviation = (power - mean.square() + p["eps"]).sqrt()
    return (x - mean) / deviation * gain[:, None] + bias[:, None]
