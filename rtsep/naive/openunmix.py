"""Open-Unmix, the plain way: one target after the other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rtsep.models.openunmix import OpenUnmix, TargetNetworks
from rtsep.naive.consistency import consistent
from rtsep.naive.spectra import sound, spectra


def separate(model: OpenUnmix, mixture: Tensor) -> Tensor:
    """(batch, channels, samples) to (batch, stems, channels, samples)."""
    p = model.params
    networks = next(m for m in model.modules() if isinstance(m, TargetNetworks))
    tensors = networks.state_dict()
    form = {k: p[k] for k in ("window", "hop", "synthesis", "padding", "shape")}
    mixed = spectra(mixture, **form, reflect=p["reflect"])
    magnitude = mixed.abs()
    estimates = [
        _magnitude(tensors, target, magnitude, p) for target in range(len(tensors["input_mean"]))
    ]
    estimates = torch.stack(estimates, 1)
    if p["softmask"]:
        shares = estimates / (estimates.sum(1, keepdim=True) + 1e-10)
        stems = shares * mixed[:, None]
    else:
        stems = torch.polar(estimates, mixed.angle()[:, None].expand_as(estimates))
    stems = sound(stems, mixture.shape[-1], **form)
    return consistent(model, stems, mixture)


def _magnitude(tensors: dict[str, Tensor], target: int, mixture: Tensor, p: dict) -> Tensor:
    """(batch, channels, bins, frames) of the mixture to that of the target."""
    batch, channels, bins, frames = mixture.shape
    w = {k: v[target] for k, v in tensors.items() if ".norm." not in k}
    mean, scale = w["input_mean"], w["input_scale"]
    seen = (mixture[:, :, : len(mean)] + mean[:, None]) * scale[:, None]
    # (batch, frames, bins * channels), as the weights have it.
    x = seen.permute(0, 3, 2, 1).flatten(2)
    entered = torch.tanh(_normed(tensors, "fc1", target, x))
    lstm = torch.nn.LSTM(p["hidden"], p["hidden"], p["layers"], batch_first=True).to(x)
    lstm.load_state_dict({k.removeprefix("lstm."): v for k, v in w.items() if "lstm." in k})
    x = torch.cat([entered, lstm(entered)[0]], -1)
    x = _normed(tensors, "fc3", target, torch.relu(_normed(tensors, "fc2", target, x)))
    masks = x.view(batch, frames, bins, channels).permute(0, 3, 2, 1)
    masks = masks * w["output_scale"][:, None] + w["output_mean"][:, None]
    return torch.relu(masks) * mixture


def _normed(tensors: dict[str, Tensor], name: str, target: int, x: Tensor) -> Tensor:
    weight = tensors[f"{name}.weight"][target]
    names = ("running_mean", "running_var", "weight", "bias")
    mean, variance, gain, bias = (
        tensors[f"{name}.norm.{part}"].chunk(len(tensors["input_mean"]))[target] for part in names
    )
    y = F.linear(x, weight)
    return (y - mean) / (variance + 1e-5).sqrt() * gain + bias
