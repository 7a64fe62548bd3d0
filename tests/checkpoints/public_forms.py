"""The public classes in a few lines of torch each, by their state dicts' keys, channels first.

Written from their descriptions; the parity vectors prove the importers against the classes
themselves, in the few configurations that were recorded.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

ASTEROID = {
    "n_src": 2,
    "n_filters": 12,
    "kernel_size": 8,
    "stride": 4,
    "n_blocks": 2,
    "n_repeats": 2,
    "bn_chan": 5,
    "hid_chan": 7,
    "skip_chan": 6,
    "conv_kernel_size": 3,
    "norm_type": "cLN",
    "mask_act": "sigmoid",
    "encoder_activation": None,
    "causal": True,
    "sample_rate": 8000,
}
NAPLAB = {
    "enc_dim": 12,
    "feature_dim": 5,
    "sr": 8000,
    "win": 1,
    "layer": 2,
    "stack": 2,
    "kernel": 3,
    "num_spk": 2,
    "causal": True,
}
CADENZA = {
    "N": 12,
    "L": 8,
    "B": 5,
    "H": 7,
    "P": 3,
    "X": 2,
    "R": 2,
    "C": 2,
    "audio_channels": 2,
    "samplerate": 44100,
    "norm_type": "cLN",
    "causal": True,
    "mask_nonlinear": "relu",
}

_ACTIVATIONS = {
    None: lambda x: x,
    "relu": F.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softmax": lambda x: x.softmax(1),
}


def asteroid(c: dict) -> tuple[dict[str, Tensor], callable]:
    """Random weights, and (batch, 1, samples) to (batch, n_src, 1, samples)."""
    bottleneck, hidden, skip = c["bn_chan"], c["hid_chan"], c["skip_chan"]
    n, taps = c["n_filters"], c["conv_kernel_size"]
    w = {
        "encoder.filterbank._filters": (n, 1, c["kernel_size"]),
        "decoder.filterbank._filters": (n, 1, c["kernel_size"]),
        "masker.bottleneck.0.gamma": (n,),
        "masker.bottleneck.0.beta": (n,),
        **_conv("masker.bottleneck.1", bottleneck, n),
        "masker.mask_net.0.weight": (1,),
        **_conv("masker.mask_net.1", c["n_src"] * n, skip or bottleneck),
    }
    count = c["n_blocks"] * c["n_repeats"]
    for i in range(count):
        b = f"masker.TCN.{i}"
        w |= _conv(f"{b}.shared_block.0", hidden, bottleneck)
        w |= {f"{b}.shared_block.{j}.{k}": (hidden,) for j in (2, 5) for k in ("gamma", "beta")}
        w |= {f"{b}.shared_block.{j}.weight": (1,) for j in (1, 4)}
        w |= _conv(f"{b}.shared_block.3.0", hidden, 1, taps)
        w |= _conv(f"{b}.res_conv", bottleneck, hidden)
        w |= _conv(f"{b}.skip_conv", skip, hidden) if skip else {}
    w = _drawn(w)

    def norm(x: Tensor, key: str) -> Tensor:
        return _norm(x, w[f"{key}.gamma"], w[f"{key}.beta"], c["norm_type"] == "cgLN")

    def run(x: Tensor) -> Tensor:
        encoded = F.conv1d(x, w["encoder.filterbank._filters"], stride=c["stride"])
        encoded = _ACTIVATIONS[c["encoder_activation"]](encoded)
        stream = _apply(w, "masker.bottleneck.1", norm(encoded, "masker.bottleneck.0"))
        total = 0
        for i in range(count):
            b = f"masker.TCN.{i}.shared_block"
            y = F.prelu(_apply(w, f"{b}.0", stream), w[f"{b}.1.weight"])
            reach = (taps - 1) * 2 ** (i % c["n_blocks"])
            y = F.pad(norm(y, f"{b}.2"), (reach, 0))
            y = _apply(w, f"{b}.3.0", y, dilation=2 ** (i % c["n_blocks"]), groups=hidden)
            y = norm(F.prelu(y, w[f"{b}.4.weight"]), f"{b}.5")
            if skip:
                total = total + _apply(w, f"masker.TCN.{i}.skip_conv", y)
            stream = stream + _apply(w, f"masker.TCN.{i}.res_conv", y)
        scores = F.prelu(total if skip else stream, w["masker.mask_net.0.weight"])
        scores = _apply(w, "masker.mask_net.1", scores).unflatten(1, (c["n_src"], n))
        masked = _ACTIVATIONS[c["mask_act"]](scores) * encoded[:, None]
        y = F.conv_transpose1d(
            masked.flatten(0, 1), w["decoder.filterbank._filters"], stride=c["stride"]
        )
        return y.unflatten(0, (len(x), c["n_src"]))

    return w, run


def naplab(c: dict) -> tuple[dict[str, Tensor], callable]:
    """Random weights, and (batch, 1, samples) to (batch, num_spk, 1, samples)."""
    n, feature, taps = c["enc_dim"], c["feature_dim"], c["kernel"]
    window, hidden = int(c["sr"] * c["win"] / 1000), 4 * c["feature_dim"]
    stride = window // 2
    w = {
        "encoder.weight": (n, 1, window),
        "decoder.weight": (n, 1, window),
        "TCN.LN.gain": (1, n, 1),
        "TCN.LN.bias": (1, n, 1),
        **_conv("TCN.BN", feature, n),
        "TCN.output.0.weight": (1,),
        **_conv("TCN.output.1", c["num_spk"] * n, feature),
    }
    count = c["layer"] * c["stack"]
    for i in range(count):
        b = f"TCN.TCN.{i}"
        w |= _conv(f"{b}.conv1d", hidden, feature) | _conv(f"{b}.dconv1d", hidden, 1, taps)
        w |= _conv(f"{b}.res_out", feature, hidden) | _conv(f"{b}.skip_out", feature, hidden)
        w |= {f"{b}.nonlinearity{j}.weight": (1,) for j in (1, 2)}
        w |= {f"{b}.reg{j}.{k}": (1, hidden, 1) for j in (1, 2) for k in ("gain", "bias")}
    w = _drawn(w)

    def norm(x: Tensor, key: str) -> Tensor:
        return _norm(x, w[f"{key}.gain"].flatten(), w[f"{key}.bias"].flatten(), True)

    def run(x: Tensor) -> Tensor:
        samples = x.shape[-1]
        rest = window - (stride + samples % window) % window
        padded = F.pad(x, (stride, rest + stride))
        encoded = F.conv1d(padded, w["encoder.weight"], stride=stride)
        stream, total = _apply(w, "TCN.BN", norm(encoded, "TCN.LN")), 0
        for i in range(count):
            b = f"TCN.TCN.{i}"
            y = F.prelu(_apply(w, f"{b}.conv1d", stream), w[f"{b}.nonlinearity1.weight"])
            dilation = 2 ** (i % c["layer"])
            y = F.pad(norm(y, f"{b}.reg1"), ((taps - 1) * dilation, 0))
            y = _apply(w, f"{b}.dconv1d", y, dilation=dilation, groups=hidden)
            y = norm(F.prelu(y, w[f"{b}.nonlinearity2.weight"]), f"{b}.reg2")
            stream = stream + _apply(w, f"{b}.res_out", y)
            total = total + _apply(w, f"{b}.skip_out", y)
        scores = _apply(w, "TCN.output.1", F.prelu(total, w["TCN.output.0.weight"]))
        masked = scores.unflatten(1, (c["num_spk"], n)).sigmoid() * encoded[:, None]
        y = F.conv_transpose1d(masked.flatten(0, 1), w["decoder.weight"], stride=stride)
        return y[..., stride : -(rest + stride)].unflatten(0, (len(x), c["num_spk"]))

    return w, run


def cadenza(c: dict) -> tuple[dict[str, Tensor], callable]:
    """Random weights, and (batch, channels, samples) to (batch, C, channels, samples)."""
    n, length, width, hidden = c["N"], c["L"], c["B"], c["H"]
    channels, taps, net = c["audio_channels"], c["P"], "separator.network"
    w = {
        "encoder.conv1d_U.weight": (n, channels, length),
        "decoder.basis_signals.weight": (channels * length, n),
        f"{net}.0.gamma": (1, n, 1),
        f"{net}.0.beta": (1, n, 1),
        f"{net}.1.weight": (width, n, 1),
        f"{net}.3.weight": (c["C"] * n, width, 1),
    }
    blocks = [f"{net}.2.{r}.{x}.net" for r in range(c["R"]) for x in range(c["X"])]
    for b in blocks:
        w |= {f"{b}.0.weight": (hidden, width, 1), f"{b}.3.net.0.weight": (hidden, 1, taps)}
        w |= {f"{b}.1.weight": (1,), f"{b}.3.net.2.weight": (1,)}
        w |= {f"{b}.{j}.{k}": (1, hidden, 1) for j in ("2", "3.net.3") for k in ("gamma", "beta")}
        w |= {f"{b}.3.net.4.weight": (width, hidden, 1)}
    w = _drawn(w)

    def norm(x: Tensor, key: str) -> Tensor:
        return _norm(x, w[f"{key}.gamma"].flatten(), w[f"{key}.beta"].flatten(), False)

    def run(x: Tensor) -> Tensor:
        encoded = F.relu(F.conv1d(x, w["encoder.conv1d_U.weight"], stride=length // 2))
        stream = _apply(w, f"{net}.1", norm(encoded, f"{net}.0"))
        for i, b in enumerate(blocks):
            y = norm(F.prelu(_apply(w, f"{b}.0", stream), w[f"{b}.1.weight"]), f"{b}.2")
            dilation = 2 ** (i % c["X"])
            y = F.pad(y, ((taps - 1) * dilation, 0))
            y = _apply(w, f"{b}.3.net.0", y, dilation=dilation, groups=hidden)
            y = norm(F.prelu(y, w[f"{b}.3.net.2.weight"]), f"{b}.3.net.3")
            stream = stream + _apply(w, f"{b}.3.net.4", y)
        scores = _apply(w, f"{net}.3", stream).unflatten(1, (c["C"], n))
        masked = _ACTIVATIONS[c["mask_nonlinear"]](scores) * encoded[:, None]
        frames = masked.transpose(2, 3) @ w["decoder.basis_signals.weight"].T
        windows = frames.unflatten(-1, (channels, length))
        step, count = length // 2, frames.shape[2]
        y = x.new_zeros(len(x), c["C"], channels, step * (count - 1) + length)
        for k in range(count):
            y[..., k * step : k * step + length] += windows[:, :, k]
        return y

    return w, run


FORMS = {
    "asteroid": (asteroid, ASTEROID),
    "naplab": (naplab, NAPLAB),
    "cadenza": (cadenza, CADENZA),
}


def _conv(key: str, outputs: int, inputs: int, kernel: int = 1) -> dict:
    return {f"{key}.weight": (outputs, inputs, kernel), f"{key}.bias": (outputs,)}


def _drawn(shapes: dict) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(1)
    return {k: 0.5 * torch.randn(shape, generator=random) + 0.1 for k, shape in shapes.items()}


def _apply(w: dict, key: str, x: Tensor, **options) -> Tensor:
    return F.conv1d(x, w[f"{key}.weight"], w.get(f"{key}.bias"), **options)


def _norm(x: Tensor, gain: Tensor, bias: Tensor, cumulative: bool) -> Tensor:
    y = torch.empty_like(x)
    for j in range(x.shape[-1]):
        seen = x[..., : j + 1] if cumulative else x[..., j : j + 1]
        mean = seen.mean((1, 2), keepdim=True)
        variance = seen.var((1, 2), keepdim=True, unbiased=False)
        y[..., j : j + 1] = (x[..., j : j + 1] - mean) / (variance + 1e-8).sqrt()
    return y * gain[:, None] + bias[:, None]
