"""The public music separators in a few lines of torch each, as `public_forms` has the others."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

OPENUNMIX = {
    "target": {
        "nb_bins": 17,
        "nb_channels": 2,
        "hidden_size": 5,
        "nb_layers": 2,
        "unidirectional": True,
        "max_bin": 12,
    },
    "targets": ["vocals", "drums"],
    "sample_rate": 8000.0,
    "n_fft": 32,
    "n_hop": 8,
}
HSTASNET = {
    "dim": 6,
    "small": True,
    "stereo": True,
    "num_basis": 7,
    "segment_len": 16,
    "overlap_len": 8,
    "n_fft": 16,
    "sample_rate": 8000,
    "num_sources": 3,
}


def openunmix(c: dict) -> tuple[dict[str, Tensor], callable]:
    """Random weights, and (batch, channels, samples) to (batch, targets, channels, samples)."""
    t = c["target"]
    bins, channels, hidden, seen = (
        t[k] for k in ("nb_bins", "nb_channels", "hidden_size", "max_bin")
    )
    w = {"sample_rate": torch.tensor(c["sample_rate"])}
    w |= {f"{name}.window": torch.hann_window(c["n_fft"]) for name in ("stft", "istft")}
    for target in c["targets"]:
        shapes = {"input_mean": (seen,), "input_scale": (seen,)}
        shapes |= {"output_mean": (bins,), "output_scale": (bins,)}
        shapes |= {"fc1.weight": (hidden, channels * seen), "fc2.weight": (hidden, 2 * hidden)}
        shapes |= {"fc3.weight": (bins * channels, hidden)}
        for norm, size in (("bn1", hidden), ("bn2", hidden), ("bn3", bins * channels)):
            shapes |= {f"{norm}.{k}": (size,) for k in ("weight", "bias", "running_mean")}
            w[f"target_models.{target}.{norm}.running_var"] = torch.rand(size) + 0.5
            w[f"target_models.{target}.{norm}.num_batches_tracked"] = torch.tensor(7)
        drawn = _drawn(shapes) | _lstm_weights("lstm", hidden, t["nb_layers"])
        w |= {f"target_models.{target}.{k}": v for k, v in drawn.items()}

    def network(target: str, x: Tensor) -> Tensor:
        """(batch, channels, bins, frames)."""
        v = {k.removeprefix(f"target_models.{target}."): v for k, v in w.items()}
        y = (x[:, :, :seen] + v["input_mean"][:, None]) * v["input_scale"][:, None]
        y = _batch_norm(v, "bn1", y.permute(0, 3, 1, 2).flatten(2) @ v["fc1.weight"].T).tanh()
        y = torch.cat([y, _lstm(v, "lstm", y, t["nb_layers"])], -1)
        y = _batch_norm(v, "bn2", y @ v["fc2.weight"].T).relu()
        y = _batch_norm(v, "bn3", y @ v["fc3.weight"].T).unflatten(-1, (channels, bins))
        return (y * v["output_scale"] + v["output_mean"]).relu().permute(0, 2, 3, 1) * x

    def run(x: Tensor) -> Tensor:
        options = {"hop_length": c["n_hop"], "window": torch.hann_window(c["n_fft"])}
        mixed = torch.stft(x.flatten(0, 1), c["n_fft"], **options, return_complex=True)
        mixed = mixed.unflatten(0, x.shape[:2])
        stems = [torch.polar(network(name, mixed.abs()), mixed.angle()) for name in c["targets"]]
        y = torch.istft(torch.stack(stems, 1).flatten(0, 2), c["n_fft"], **options)
        return y.unflatten(0, (x.shape[0], len(stems), channels))

    return w, run


def hstasnet(c: dict) -> tuple[dict[str, Tensor], callable]:
    """Random weights, and (batch, channels, samples) to (batch, num_sources, channels, samples)."""
    window, hop, dim, basis = (c[k] for k in ("segment_len", "overlap_len", "dim", "num_basis"))
    channels, stems, layers = 1 + c["stereo"], c["num_sources"], 2 - c["small"]
    width, joined = (window // 2 + 1) * channels * 2, dim * layers
    taper = torch.hann_window(window)
    shapes = {"conv_encode.weight": (2 * basis, channels, window), "conv_encode.bias": (2 * basis,)}
    shapes |= {"conv_decode.weight": (basis, channels, window), "conv_decode.bias": (channels,)}
    shapes |= {"to_spec_masks.0.weight": (dim,), "to_waveform_masks.0.weight": (dim,)}
    for key, rows, *columns in (
        ("spec_encode.1", dim, width),
        ("basis_to_embed.0", dim, basis, 1),
        ("to_spec_masks.1", width * stems, dim),
        ("to_waveform_masks.1", basis * stems, dim),
    ):
        shapes |= {f"{key}.weight": (rows, *columns), f"{key}.bias": (rows,)}
    w = _drawn(shapes) | {"stft.window": taper, "conv_decode.window": taper}
    w["stft.streaming_envelope"] = torch.ones(window)
    for place in ("pre_spec", "pre_waveform", "post_spec", "post_waveform"):
        w |= _lstm_weights(f"{place}_branch", dim, layers)
    w |= _lstm_weights("fusion_branch", joined, layers)

    def recur(place: str, x: Tensor) -> Tensor:
        y = _lstm(w, f"{place}_branch", x, layers)
        return y if c["small"] else x + y

    def linear(key: str, x: Tensor) -> Tensor:
        return F.linear(x, w[f"{key}.weight"].flatten(1), w[f"{key}.bias"])

    def masks(key: str, x: Tensor) -> Tensor:
        x = F.rms_norm(x, (dim,), w[f"{key}.0.weight"], torch.finfo(torch.float32).eps)
        return linear(f"{key}.1", x)

    def run(x: Tensor) -> Tensor:
        padded = F.pad(x, (window // 2, window // 2))
        spectra = torch.fft.rfft(padded.unfold(-1, window, hop) * taper)
        mixed = torch.view_as_real(spectra)  # (batch, channels, frames, bins, 2)
        value, gate = F.conv1d(padded, w["conv_encode.weight"], w["conv_encode.bias"], hop).chunk(
            2, 1
        )
        functions = value.relu() * gate.sigmoid()
        spec_start = linear("spec_encode.1", mixed.transpose(1, 2).flatten(2))
        wave_start = linear("basis_to_embed.0", functions.mT)
        spec, wave = recur("pre_spec", spec_start), recur("pre_waveform", wave_start)
        if c["small"]:
            spec = wave = recur("fusion", spec + wave)
        else:
            spec, wave = recur("fusion", torch.cat([spec, wave], -1)).chunk(2, -1)
        spec, wave = (
            recur("post_spec", spec + spec_start),
            recur("post_waveform", wave + wave_start),
        )
        kept = masks("to_spec_masks", spec).unflatten(-1, (channels, -1, 2, stems))
        kept = mixed[:, None] * kept.permute(0, 5, 2, 1, 3, 4)
        pieces = torch.fft.irfft(torch.view_as_complex(kept.contiguous()), n=window) * taper
        gains = masks("to_waveform_masks", wave).unflatten(-1, (stems, basis))
        kept = functions[:, None] * gains.permute(0, 2, 3, 1)
        y = F.conv_transpose1d(kept.flatten(0, 1), w["conv_decode.weight"] * taper, stride=hop)
        y = y.unflatten(0, (x.shape[0], stems))
        weight = torch.zeros(y.shape[-1])
        for k in range(pieces.shape[3]):
            weight[k * hop : k * hop + window] += taper.square()
        for k, piece in enumerate(pieces.unbind(3)):
            at = slice(k * hop, k * hop + window)
            y[..., at] += piece / weight[at].clamp(min=1e-11)
        return y[..., window // 2 : -window // 2]

    return w, run


FORMS = {"openunmix": (openunmix, OPENUNMIX), "hstasnet": (hstasnet, HSTASNET)}


def _drawn(shapes: dict) -> dict[str, Tensor]:
    return {k: 0.3 * torch.randn(shape) + 0.1 for k, shape in shapes.items()}


def _lstm_weights(key: str, units: int, layers: int) -> dict[str, Tensor]:
    plain = torch.nn.LSTM(units, units, layers)
    return {f"{key}.{name}": value.detach() for name, value in plain.named_parameters()}


def _lstm(w: dict, key: str, x: Tensor, layers: int) -> Tensor:
    plain = torch.nn.LSTM(x.shape[-1], x.shape[-1], layers, batch_first=True)
    plain.load_state_dict(
        {k.removeprefix(f"{key}."): v for k, v in w.items() if k.startswith(f"{key}.")}
    )
    return plain(x)[0]


def _batch_norm(w: dict, key: str, x: Tensor) -> Tensor:
    deviation = (w[f"{key}.running_var"] + 1e-5).sqrt()
    return (x - w[f"{key}.running_mean"]) / deviation * w[f"{key}.weight"] + w[f"{key}.bias"]
