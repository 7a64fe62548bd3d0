"""Wave-U-Net, the plain way."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from rtsep.models.waveunet import WaveUNet
from rtsep.naive.blocks import in_blocks
from rtsep.naive.consistency import consistent

_OUTPUTS = {"tanh": torch.tanh, "clip": lambda x: x.clamp(-1, 1), "linear": lambda x: x}


def separate(model: WaveUNet, mixture: Tensor) -> Tensor:
    """(batch, channels, samples) to (batch, stems, channels, samples)."""
    p, samples = model.params, mixture.shape[-1]
    if p["blocks"] is None:
        # Silence follows for as long as anything looks ahead.
        length = samples + 2 * (model.latency + model.hop)
        later = F.pad(mixture, (0, length // model.hop * model.hop - samples))
        stems = _network(model, later)[..., :samples]
    else:
        stems = in_blocks(lambda window: _network(model, window), mixture, **p["blocks"])
    return consistent(model, stems, mixture)


def _network(model: WaveUNet, mixture: Tensor) -> Tensor:
    """To (batch, stems, channels, samples); fewer samples where nothing is padded."""
    p, levels = model.params, len(model.params["widths"]) - 1
    layers = _layers(model)
    x, beside = mixture, []
    for _ in range(levels):
        x = _convolution(x, layers, p)
        beside.append(x)
        if p["doubled"]:
            x = _convolution(x, layers, p)
        if p["taps"]:
            x = _filtered(x, next(layers)["weight"], p)
        x = x[..., _phase(p) :: p["stride"]]
    x = _convolution(x, layers, p)
    for shortcut in reversed(beside):
        if p["taps"]:
            zeros = x.new_zeros(*x.shape, p["stride"])
            zeros[..., 0] = x
            x = zeros.flatten(-2)
            if p["form"] == "valid":
                x = x[..., : x.shape[-1] - p["stride"] + 1]
            x = _filtered(x, next(layers)["weight"], p)
        else:
            x = _line(x, p)
        if p["doubled"]:
            x = _convolution(x, layers, p)
        x = _convolution(torch.cat([_middle(shortcut, x), x], 1), layers, p)
    if p["direct"]:
        x = torch.cat([x, _middle(mixture, x)], 1)
    last = next(layers)
    stems = F.conv1d(x, last["weight"], last["bias"]).unflatten(1, (-1, model.channels))
    return _OUTPUTS[p["output"]](stems)


def _layers(model: WaveUNet) -> Iterator[dict[str, Tensor]]:
    """Each convolution's and filter's tensors, its norm's among them, in the signal's order."""
    found: list[dict[str, Tensor]] = []
    for key, value in model.state_dict().items():
        part = key.rsplit(".", 1)[1]
        if value.dim() == 3:
            found.append({"weight": value})
        elif part == "bias" and "bias" not in found[-1]:
            found[-1]["bias"] = value
        else:
            # A batch norm's belong to the convolution, a group norm's stand after it.
            found[-1][f"norm.{part}"] = value
    return iter(found)


def _convolution(x: Tensor, layers: Iterator[dict[str, Tensor]], p: dict) -> Tensor:
    w = next(layers)
    kernel = w["weight"].shape[-1]
    ends = {"causal": (kernel - 1, 0), "centred": (kernel // 2, kernel // 2), "valid": (0, 0)}
    x = F.conv1d(F.pad(x, ends[p["form"]]), w["weight"], w["bias"])
    if p["norm"] == "batch":
        statistics = (w["norm.running_mean"], w["norm.running_var"])
        x = F.batch_norm(x, *statistics, w["norm.weight"], w["norm.bias"])
    elif p["norm"] == "group":
        x = F.group_norm(x, x.shape[1] // 8, w["norm.weight"], w["norm.bias"])
    return F.leaky_relu(x, p["slope"])


def _filtered(x: Tensor, weight: Tensor, p: dict) -> Tensor:
    half = p["taps"] // 2
    x = F.pad(x, (half, half), mode="reflect" if p["form"] == "valid" else "constant")
    return F.conv1d(x, weight, groups=x.shape[1])


def _line(x: Tensor, p: dict) -> Tensor:
    """Frame `j` goes where it was kept; before the first there is silence, and after the last."""
    stride, frames = p["stride"], x.shape[-1]
    if p["form"] == "valid":
        return F.interpolate(x, (frames - 1) * stride + 1, mode="linear", align_corners=True)
    at = torch.arange(frames * stride) - _phase(p)
    before, part = at.div(stride, rounding_mode="floor"), (at % stride).to(x) / stride
    padded = F.pad(x, (1, 1))
    return padded[..., before + 1] * (1 - part) + padded[..., before + 2] * part


def _phase(p: dict) -> int:
    return p["stride"] - 1 if p["form"] == "causal" and not p["taps"] else 0


def _middle(x: Tensor, like: Tensor) -> Tensor:
    cut = (x.shape[-1] - like.shape[-1]) // 2
    return x[..., cut : cut + like.shape[-1]]
