"""Demucs, the plain way."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from rtsep.models.demucs import Demucs
from rtsep.naive.consistency import consistent

_ZEROS = 56


def separate(model: Demucs, mixture: Tensor) -> Tensor:
    """(batch, channels, samples) to (batch, stems, channels, samples).

    Filled up with zeros at the end until every window that touches the signal is full.
    """
    p = model.params
    depth, samples = len(p["hidden"]), mixture.shape[-1]
    kernels, strides, synthesis = (
        [value] * depth if isinstance(value, int) else list(value)
        for value in (p["kernel"], p["stride"], p["synthesis"] or p["kernel"])
    )
    rounds = {1: 0, 2: 1, 4: 2}[p["resample"]]
    level = _level(mixture, p, model.hop) if p["adaptation"] else 1.0
    x = mixture / (p["floor"] + level) if p["adaptation"] else mixture
    reach = sum(k * math.prod(strides[:i]) for i, k in enumerate(kernels)) + 4 * _ZEROS
    x = F.pad(x, (0, -(-reach // math.prod(strides)) * math.prod(strides) * 2))
    for _ in range(rounds):
        x = _upsampled(x)

    weights = list(model.state_dict().values())
    lstm = torch.nn.LSTM(weights[4 * depth].shape[1], weights[4 * depth + 1].shape[1], p["layers"])
    cells = 4 * p["layers"]
    lstm.load_state_dict(
        dict(zip(lstm.state_dict(), weights[4 * depth : 4 * depth + cells], strict=True))
    )
    lstm.to(x.dtype)
    encoders = [weights[4 * i : 4 * i + 4] for i in range(depth)]
    decoders = [weights[4 * (depth + i) + cells :][:4] for i in range(depth)]
    skips = []
    for (kernel, bias, *rewrite), stride, window in zip(encoders, strides, synthesis, strict=True):
        left = kernel.shape[-1] - window
        x = F.relu(F.conv1d(F.pad(x, (left, 0)), kernel, bias, stride=stride))
        x = _product(x, *rewrite, p["gated"])
        skips.append(x)
    x = lstm(x.permute(2, 0, 1))[0].permute(1, 2, 0)
    for index, (weight, bias, kernel, shift) in enumerate(decoders):
        x = x + skips.pop()[..., : x.shape[-1]]
        x = _product(x, weight, bias, p["gated"])
        x = F.conv_transpose1d(x, kernel, shift, stride=strides[depth - 1 - index])
        if index < depth - 1:
            x = F.relu(x)
    for _ in range(rounds):
        x = _downsampled(x)

    stems = x[..., :samples].unflatten(1, (-1, p["channels"]))
    if p["adaptation"]:
        stems = stems * level[:, None]
    return consistent(model, stems, mixture)


def _product(x: Tensor, weight: Tensor, bias: Tensor, gated: bool) -> Tensor:
    y = F.conv1d(x, weight[..., None], bias)
    return F.glu(y, 1) if gated else F.relu(y)


def _level(mixture: Tensor, p: dict, block: int) -> Tensor:
    """(batch, 1, samples): the deviation, block by block, of what was heard."""
    mono = mixture.mean(1)
    missing = -mono.shape[-1] % block
    powers = F.pad(mono, (0, missing)).square().unflatten(-1, (-1, block)).mean(-1)
    decay = math.exp(-block / (p["adaptation"] * p["rate"]))
    total, weight, levels = torch.zeros_like(powers[:, 0]), 0.0, []
    for power in powers.unbind(-1):
        total, weight = decay * total + power, decay * weight + 1
        levels.append((total / weight).sqrt())
    return torch.stack(levels, -1).repeat_interleave(block, -1)[:, None, : mixture.shape[-1]]


def _upsampled(x: Tensor) -> Tensor:
    """Between every two samples the value of the sinc interpolation."""
    kernel = _kernel(x)
    rows = F.pad(x.flatten(0, 1)[:, None], (_ZEROS - 1, _ZEROS))
    between = F.conv1d(rows, kernel).view_as(x)
    return torch.stack([x, between], -1).flatten(-2)


def _downsampled(x: Tensor) -> Tensor:
    """Every other sample, averaged with the interpolation of the others at its place."""
    even, odd = x[..., : x.shape[-1] // 2 * 2].unflatten(-1, (-1, 2)).unbind(-1)
    rows = F.pad(odd.flatten(0, 1)[:, None], (_ZEROS, _ZEROS - 1))
    return (even + F.conv1d(rows, _kernel(x)).view_as(even)) / 2


def _kernel(like: Tensor) -> Tensor:
    times = torch.arange(-_ZEROS, _ZEROS, dtype=torch.float64) + 0.5
    kernel = torch.sinc(times) * (math.pi * times / _ZEROS / 2).cos().square()
    return kernel.to(like.dtype)[None, None]
