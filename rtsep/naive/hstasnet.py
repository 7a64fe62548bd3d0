"""HS-TasNet, the plain way."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rtsep.layers import Conv, ConvTranspose
from rtsep.models.hstasnet import HSTasNet, HybridNetwork
from rtsep.naive.consistency import consistent
from rtsep.naive.spectra import sound, spectra


def separate(model: HSTasNet, mixture: Tensor) -> Tensor:
    """(batch, channels, samples) to (batch, stems, channels, samples)."""
    p, samples = model.params, mixture.shape[-1]
    form = {k: p[k] for k in ("window", "hop", "synthesis", "padding", "shape")}
    mixed = spectra(mixture, **form)
    basis = _encoded(model, mixture, mixed.shape[-1])
    w = _part(model, HybridNetwork).state_dict()
    spec_masks, wave_masks = _masks(w, mixed, basis, p)

    parts = torch.view_as_real(mixed)[:, None] * spec_masks
    stems = sound(torch.view_as_complex(parts.contiguous()), samples, **form)
    stems = stems + _decoded(model, basis[:, None] * wave_masks, samples)
    return consistent(model, stems, mixture)


def _encoded(model: HSTasNet, mixture: Tensor, frames: int) -> Tensor:
    """(batch, basis, frames) of the windows of the spectra."""
    p, weights = model.params, _part(model, Conv).state_dict()
    before = p["window"] - p["hop"] if p["padding"] is None else p["padding"]
    after = (frames - 1) * p["hop"] + p["window"] - before - mixture.shape[-1]
    x = F.conv1d(F.pad(mixture, (before, after)), weights["weight"], weights["bias"], p["hop"])
    return torch.relu(x[:, : p["basis"]]) * torch.sigmoid(x[:, p["basis"] :])


def _decoded(model: HSTasNet, masked: Tensor, samples: int) -> Tensor:
    """(batch, stems, basis, frames) to sound, at the end of each window."""
    p, weight = model.params, _part(model, ConvTranspose).weight
    before = p["window"] - p["hop"] if p["padding"] is None else p["padding"]
    y = F.conv_transpose1d(masked.flatten(0, 1), weight, stride=p["hop"])
    y = F.pad(y, (p["window"] - weight.shape[-1], 0))[..., before : before + samples]
    return y.unflatten(0, masked.shape[:2])


def _masks(w: dict[str, Tensor], mixed: Tensor, basis: Tensor, p: dict) -> tuple[Tensor, Tensor]:
    """(batch, stems, channels, bins, frames, 1 or 2) and (batch, stems, basis, frames)."""
    batch, channels, bins, frames = mixed.shape
    seen = torch.view_as_real(mixed) if p["phase"] else mixed.abs()[..., None]
    kinds = seen.shape[-1]
    seen = seen.permute(0, 3, 2, 1, 4).flatten(2)
    spec_start = F.linear(seen, w["spec_entry.weight"], w["spec_entry.bias"])
    wave_start = F.linear(basis.mT, w["wave_entry.weight"], w["wave_entry.bias"])
    spec, wave = _lstm(w, "pre_spec", spec_start, p), _lstm(w, "pre_wave", wave_start, p)
    if p["small"]:
        spec = wave = _lstm(w, "fusion", spec + wave, p)
    else:
        joined = _lstm(w, "fusion", torch.cat([spec, wave], -1), p)
        spec, wave = joined[..., : p["hidden"]], joined[..., p["hidden"] :]
    spec = _exit(w, "spec_exit", _lstm(w, "post_spec", spec + spec_start, p), p)
    wave = _exit(w, "wave_exit", _lstm(w, "post_wave", wave + wave_start, p), p)
    spec = spec.view(batch, frames, -1, bins, channels, kinds).permute(0, 2, 4, 3, 1, 5)
    return spec, wave.view(batch, frames, -1, p["basis"]).permute(0, 2, 3, 1)


def _lstm(w: dict[str, Tensor], place: str, x: Tensor, p: dict) -> Tensor:
    weights = {
        k.rpartition(".")[2]: v for k, v in w.items() if k.startswith(f"recurrences.{place}.")
    }
    layers = 1 if p["small"] else 2
    lstm = torch.nn.LSTM(x.shape[-1], x.shape[-1], layers, batch_first=True).to(x)
    lstm.load_state_dict(weights)
    return lstm(x)[0] if p["small"] else x + lstm(x)[0]


def _exit(w: dict[str, Tensor], name: str, x: Tensor, p: dict) -> Tensor:
    if p["norm"]:
        power = x.square().mean(-1, keepdim=True)
        x = x / (power + 2.0**-23).sqrt() * w[f"{name}.0.weight"]
    return F.linear(x, w[f"{name}.1.weight"], w[f"{name}.1.bias"])


def _part(model: HSTasNet, kind: type):
    return next(m for m in model.modules() if isinstance(m, kind))
