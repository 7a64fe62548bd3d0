"""U-Net, the plain way."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rtsep.models.unet import UNet
from rtsep.naive import spectra
from rtsep.naive.blocks import in_blocks
from rtsep.naive.consistency import consistent


def separate(model: UNet, mixture: Tensor) -> Tensor:
    """(batch, channels, samples) to (batch, stems, channels, samples)."""
    p, samples = model.params, mixture.shape[-1]
    if p["blocks"] is None:
        # Silence follows for as long as anything looks ahead.
        length = samples + 2 * (model.latency + model.hop)
        later = F.pad(mixture, (0, length // model.hop * model.hop - samples))
        stems = _network(model, later, segment=False)[..., :samples]
    else:
        stems = in_blocks(
            lambda window: _network(model, window, segment=True), mixture, **p["blocks"]
        )
    return consistent(model, stems, mixture)


def _network(model: UNet, mixture: Tensor, segment: bool) -> Tensor:
    """To (batch, masks, channels, samples); a segment has both its ends padded alike."""
    p = model.params
    form = {k: p[k] for k in ("synthesis", "padding", "shape")}
    transform = {"n_fft": p["window"], "hop_length": p["hop"]}
    if segment:
        transform["window"] = torch.hann_window(p["window"], dtype=mixture.dtype)
        rows = mixture.flatten(0, 1)
        spectrum = torch.stft(rows, **transform, return_complex=True)
        spectrum = spectrum.unflatten(0, mixture.shape[:2])
    else:
        spectrum = spectra.spectra(mixture, p["window"], p["hop"], reflect=p["reflect"], **form)
        spectrum = spectrum[..., : mixture.shape[-1] // p["hop"]]
    power = spectrum.abs().square()[:, :, 1:].mT
    masks = _masks(model, (power + 1e-20) ** (p["exponent"] / 2))
    masks = masks.unflatten(1, (-1, model.channels)).mT
    lowest = torch.ones_like(masks[..., :1, :]) if p["through"] else masks[..., :1, :]
    masked = torch.cat([lowest, masks], -2) * spectrum[:, None]
    if segment:
        sound = torch.istft(masked.flatten(0, 2), **transform)
        return sound.unflatten(0, masked.shape[:3])
    return spectra.sound(masked, mixture.shape[-1], p["window"], p["hop"], **form)


def _masks(model: UNet, seen: Tensor) -> Tensor:
    """(batch, channels, frames, bins) to (batch, masks * channels, frames, bins)."""
    p, tensors = model.params, model.state_dict()
    # Layers stand in the order of the signal: down to the narrowest, then up.
    names = [k.removesuffix(".norm.running_var") for k in tensors if k.endswith("running_var")]
    stride, aside = (
        p["stride"],
        [(k - s + 1) // 2 for k, s in zip(p["kernel"], p["stride"], strict=True)],
    )
    before = aside[0] if p["centred"] else p["kernel"][0] - stride[0]
    after = aside[0] if p["centred"] else 0
    x, down = seen, []
    for name in names[: p["layers"]]:
        down.append(x)
        x = F.pad(x, (aside[1], aside[1], before, after))
        weight, bias = (tensors[f"{name}.{part}"] for part in ("weight", "bias"))
        x = F.leaky_relu(_norm(F.conv2d(x, weight, bias, stride), tensors, name), p["slope"])
    for index, name in enumerate(names[p["layers"] :]):
        beside = down[-1 - index]
        weight, bias = (tensors[f"{name}.{part}"] for part in ("weight", "bias"))
        y = F.conv_transpose2d(x, weight, bias, stride)
        frames, bins = beside.shape[2:]
        y = y[:, :, (aside[0] if p["centred"] else 0) :, aside[1] :][:, :, :frames, :bins]
        y = _norm(y, tensors, name)
        last = index + 1 == p["layers"]
        x = torch.sigmoid(y) if last else torch.cat([torch.relu(y), beside], 1)
    return x


def _norm(x: Tensor, tensors: dict[str, Tensor], name: str) -> Tensor:
    mean, var, weight, bias = (
        tensors[f"{name}.norm.{k}"] for k in ("running_mean", "running_var", "weight", "bias")
    )
    return F.batch_norm(x, mean, var, weight, bias)
