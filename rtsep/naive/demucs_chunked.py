"""Demucs in blocks, the plain way: each window's network on its own, weights taken in their order.

The hybrid's network is the public one in both; what is compared there is the blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from rtsep.models.demucs_chunked import DemucsChunked
from rtsep.naive.blocks import in_blocks
from rtsep.naive.consistency import consistent

_PIECES = 200


def separate(model: DemucsChunked, mixture: Tensor) -> Tensor:
    """(batch, channels, samples) to (batch, stems, channels, samples)."""
    p = model.params

    def segment(window: Tensor) -> Tensor:
        if p["hybrid"] is not None:
            return next(m for m in model.modules() if type(m).__name__ == "HTDemucs")(window)
        return _segment(window, iter(model.state_dict().values()), p)

    stems = in_blocks(segment, mixture, **p["blocks"])
    return consistent(model, stems, mixture)


def _segment(window: Tensor, weights: Iterator[Tensor], p: dict) -> Tensor:
    samples, twice = window.shape[-1], p["resample"]
    depth = len(p["hidden"])
    kernels, strides = (
        [p[k]] * depth if isinstance(p[k], int) else p[k] for k in ("kernel", "stride")
    )
    mean, deviation = 0.0, 1.0
    if p["normalise"]:
        mono = window.mean(1, keepdim=True)
        mean, deviation = mono.mean(-1, keepdim=True), mono.std(-1, keepdim=True) + 1e-5
    length = samples * (1 + twice)
    for kernel, stride in zip(kernels, strides, strict=True):
        length = max(1, -(-(length - kernel) // stride) + 1)
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        length = (length - 1) * stride + kernel
    missing = -(-length // (1 + twice)) - samples
    x = F.pad((window - mean) / deviation, (missing // 2, missing - missing // 2))
    if twice:
        x = _resampled(x, 1, 2)
    x = _level(x, 0, weights, p, kernels, strides)
    if twice:
        x = _resampled(x, 2, 1)
    start = (x.shape[-1] - samples) // 2
    x = x[..., start : start + samples]
    if p["normalise"]:
        x = x * (deviation - 1e-5) + mean
    return x.unflatten(1, (-1, window.shape[1]))


def _level(x: Tensor, at: int, weights: Iterator[Tensor], p: dict, kernels, strides) -> Tensor:
    """Down, through what is below, and up."""
    depth, activation = len(p["hidden"]), {"relu": F.relu, "gelu": F.gelu}[p["activation"]]
    if at == depth:
        return _both_ways(x, weights, p["layers"]) if p["layers"] else x
    take = lambda: next(weights)  # noqa: E731 - in the order that they are used in

    def normed(y: Tensor) -> Tensor:
        return F.group_norm(y, p["groups"], take(), take()) if at >= p["norm_from"] else y

    def gated(y: Tensor) -> Tensor:
        return F.glu(y, 1) if p["gated"] else F.relu(y)

    x = activation(normed(F.conv1d(x, take(), take(), stride=strides[at])))
    for number in range(p["branch_layers"] * (p["branches"] & 1)):
        x = _branch(x, number, at, weights, p)
    x = gated(normed(F.conv1d(x, take()[..., None], take())))
    y = _level(x, at + 1, weights, p, kernels, strides)
    aside = (x.shape[-1] - y.shape[-1]) // 2
    y = y + x[..., aside : aside + y.shape[-1]]
    product = take()
    y = F.conv1d(y, product.view(*product.shape[:2], -1), take(), padding=p["around"])
    y = gated(normed(y))
    for number in range(p["branch_layers"] * (p["branches"] >> 1)):
        y = _branch(y, number, at, weights, p)
    y = F.conv_transpose1d(y, take(), take(), stride=strides[at])
    return activation(normed(y)) if at else y


def _branch(x: Tensor, number: int, at: int, weights: Iterator[Tensor], p: dict) -> Tensor:
    take = lambda: next(weights)  # noqa: E731
    y = F.conv1d(x, take(), take(), padding=2**number, dilation=2**number)
    y = F.gelu(F.group_norm(y, 1, take(), take()))
    if at >= p["recurrent_from"]:
        y = y + _in_pieces(y, weights)
    if at >= p["attentive_from"]:
        y = y + _attention(y, weights)
    y = F.group_norm(F.conv1d(y, take()[..., None], take()), 1, take(), take())
    return x + F.glu(y, 1) * take()[:, None]


def _in_pieces(x: Tensor, weights: Iterator[Tensor]) -> Tensor:
    """Of pieces half of which overlaps, the middle half; of the first and last also the end."""
    kept = [next(weights) for _ in range(18)]
    frames, hop = x.shape[-1], _PIECES // 2
    if frames <= _PIECES:
        return _both_ways(x, iter(kept), 2)
    count = -(-frames // hop)
    padded = F.pad(x, (0, (count + 1) * hop - frames))
    y = torch.zeros_like(padded)
    for piece in range(count):
        z = _both_ways(padded[..., piece * hop : piece * hop + _PIECES], iter(kept), 2)
        first = 0 if piece == 0 else hop // 2
        last = _PIECES if piece == count - 1 else _PIECES - hop // 2
        y[..., piece * hop + first : piece * hop + last] = z[..., first:last]
    return y[..., :frames]


def _both_ways(x: Tensor, weights: Iterator[Tensor], layers: int) -> Tensor:
    width = x.shape[1]
    lstm = torch.nn.LSTM(width, width, layers, bidirectional=True).to(x.dtype)
    for way in ("", "_reverse"):
        for k in range(layers):
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                getattr(lstm, f"{name}_l{k}{way}").data.copy_(next(weights))
    y = lstm(x.permute(2, 0, 1))[0].permute(1, 2, 0)
    return F.conv1d(y, next(weights)[..., None], next(weights))


def _attention(x: Tensor, weights: Iterator[Tensor]) -> Tensor:
    heads, slopes = 4, 4
    content, query, key, penalty = (
        F.conv1d(x, next(weights)[..., None], next(weights)).unflatten(1, (heads, -1))
        for _ in range(4)
    )
    # Keys by queries.
    scores = torch.einsum("bhct,bhcs->bhts", key, query) / key.shape[2] ** 0.5
    time = torch.arange(x.shape[-1], dtype=x.dtype)
    distance = (time[:, None] - time).abs()
    for k in range(slopes):
        slope = (k + 1) * torch.sigmoid(penalty[:, :, k]) / 2 / slopes**0.5
        scores = scores - slope[:, :, None] * distance
    scores = scores.masked_fill(torch.eye(len(time), dtype=torch.bool), -100)
    y = torch.einsum("bhts,bhct->bhcs", scores.softmax(2), content).flatten(1, 2)
    return F.conv1d(y, next(weights)[..., None], next(weights))


def _resampled(x: Tensor, old: int, new: int, zeros: int = 24, band: float = 0.945) -> Tensor:
    """Output by output: the sinc around its time, over the input with its ends held."""
    rate = band * min(old, new)
    width = math.ceil(zeros * old / rate)
    held = F.pad(x, (width, width + old), mode="replicate")
    phases = []
    for phase in range(new):
        near = torch.arange(-width, width + old, dtype=torch.float64)
        times = ((near / old - phase / new) * rate).clamp(-zeros, zeros)
        kernel = torch.sinc(times) * (math.pi * times / zeros / 2).cos() ** 2
        kernel = (kernel / kernel.sum()).to(x.dtype)
        rows = held.flatten(0, 1)[:, None]
        phases.append(F.conv1d(rows, kernel[None, None], stride=old).view(*x.shape[:2], -1))
    return torch.stack(phases, -1).flatten(-2)[..., : x.shape[-1] * new // old]
