"""The trunk of Mask Inference, Deep Clustering and Chimera, and their masked spectra, for twins."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rtsep.models.spectral import Head, SpectralSeparator
from rtsep.naive.consistency import consistent
from rtsep.naive.spectra import change, sound, spectra, tapers

ACTIVATIONS = {
    "linear": lambda x: x,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "tanh": torch.tanh,
}


def mixed(model: SpectralSeparator, mixture: Tensor) -> Tensor:
    """Complex (batch, channels, bins, frames) of (batch, channels, samples)."""
    return spectra(mixture, **_windows(model.params))


def seen(model: SpectralSeparator, spectrum: Tensor) -> Tensor:
    """Complex spectra to what the last recurrent layer gives, (batch, frames, hidden)."""
    p, tensors = model.params, model.trunk.state_dict()
    taper, _ = tapers(p["window"], p["hop"], p["synthesis"], "root")
    # Bins and channels as the weights have them.
    power = spectrum.abs().square().permute(0, 3, 2, 1).flatten(2)
    level = power / taper.sum().square()
    if p["feature"] == "decibels":
        x = 10 * torch.log10(level.clamp(min=1e-8))
    else:
        x = (level + 1e-12) ** ((p["exponent"] if p["feature"] == "compressed" else 1) / 2)
    if p["norm"] != "none":
        gain, bias = [v for k, v in tensors.items() if v.dim() == 1 and "bias_" not in k][:2]
        x = _norm(x, gain, bias, p)
    if p["adaptation"]:
        x = torch.cat([x, change(power, p["adaptation"] * p["rate"] / p["hop"])], -1)
    products = [v for k, v in tensors.items() if "function" in k]
    if p["entry"]:
        x = F.linear(x, *products)
    parts = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    recurrent = ([v for k, v in tensors.items() if k.endswith(part)] for part in parts)
    for weights in zip(*recurrent, strict=True):
        lstm = torch.nn.LSTM(x.shape[-1], p["hidden"], batch_first=True).to(x)
        lstm.load_state_dict(dict(zip(parts, weights, strict=True)))
        y = lstm(x)[0]
        x = x + y if p["residual"] and x.shape == y.shape else y
    return x


def scores(model: SpectralSeparator, x: Tensor, kind: type[Head] = Head) -> Tensor:
    """What a head makes of frames, before its activation: (batch, frames, *shape)."""
    head = next(part for part in model.modules() if type(part) is kind)
    return F.linear(x, head.product.weight, head.product.bias).unflatten(-1, head.shape)


def masked(model: SpectralSeparator, mixture: Tensor, masks: Tensor) -> Tensor:
    """Masks (batch, frames, masks, bins, channels) to stems (batch, stems, channels, samples)."""
    p = model.params
    stems = masks.permute(0, 2, 4, 3, 1) * mixed(model, mixture)[:, None]
    stems = sound(stems, mixture.shape[-1], **_windows(p))
    return consistent(model, stems, mixture)


def _windows(p: dict) -> dict:
    return {k: p[k] for k in ("window", "hop", "synthesis", "padding")}


def _norm(x: Tensor, gain: Tensor, bias: Tensor, p: dict) -> Tensor:
    """(batch, frames, width): over one frame, over all so far, or a gain and a bias alone."""
    if p["norm"] == "affine":
        return x * gain + bias
    mean, power = x.mean(2, keepdim=True), x.square().mean(2, keepdim=True)
    if p["norm"] == "cumulative":
        heard = torch.arange(1, x.shape[1] + 1, dtype=x.dtype)[:, None]
        mean, power = mean.cumsum(1) / heard, power.cumsum(1) / heard
    return (x - mean) / (power - mean.square() + p["eps"]).sqrt() * gain + bias
