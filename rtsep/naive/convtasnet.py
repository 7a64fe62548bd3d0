"""Conv-TasNet, the plain way."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from rtsep.models.convtasnet import ConvTasNet, MaskNetwork
from rtsep.naive.consistency import consistent

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
    kernel, stride, padding = p["kernel"], p["stride"], p["padding"]
    tensors = model.state_dict()
    inside = next(k for k, v in model.named_modules() if isinstance(v, MaskNetwork)) + "."
    masker = {k.removeprefix(inside): v for k, v in tensors.items() if k.startswith(inside)}
    encoder, decoder = (v for k, v in tensors.items() if not k.startswith(inside) and v.dim() == 3)
    rest = [v for k, v in tensors.items() if not k.startswith(inside) and v.dim() == 1]

    samples = mixture.shape[-1]
    frames = -(-(samples + padding) // stride)
    padded = F.pad(mixture, (padding, (frames - 1) * stride + kernel - samples - padding))
    encoded = _ACTIVATIONS[p["activation"]](F.conv1d(padded, encoder, stride=stride))

    seen = _norm(encoded, masker["norm.weight"], masker["norm.bias"], p)
    if p["context"]:
        seen = torch.cat([seen, _context(mixture, frames, p, *rest)], 1)
    masks = _masks(masker, seen, p)

    decoded = [
        F.conv_transpose1d(encoded * mask, decoder, stride=stride) for mask in masks.unbind(1)
    ]
    stems = torch.stack(decoded, 1)[..., padding : padding + samples]
    return consistent(model, stems, mixture)


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
    scores = _product(w, "exit", scores).unflatten(1, (-1, p["filters"]))
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


def _context(mixture: Tensor, frames: int, p: dict, gain: Tensor, bias: Tensor) -> Tensor:
    """(batch, bins * channels, frames): frame `j` is the window that ends with hop `j`."""
    window, stride = p["context"], p["stride"]
    padded = F.pad(mixture, (window - stride, frames * stride - mixture.shape[-1]))
    shape = torch.hann_window(window, dtype=mixture.dtype).sqrt()
    spectrum = torch.fft.rfft(padded.unfold(-1, window, stride) * shape, dim=-1)
    power = spectrum.abs().square().permute(0, 3, 1, 2).flatten(1, 2)
    shape = _norm((power + 1e-12) ** 0.15, gain, bias, p | {"norm": "frame"})
    if not p["adaptation"]:
        return shape
    loudness = 0.25 * torch.log(power + 1e-10)
    decay = math.exp(-stride / (p["adaptation"] * p["rate"]))
    total, weight, change = torch.zeros_like(loudness[..., 0]), 0.0, []
    for frame in loudness.unbind(-1):
        total, weight = decay * total + frame, decay * weight + 1
        change.append(frame - total / weight)
    return torch.cat([shape, torch.stack(change, -1)], 1)
