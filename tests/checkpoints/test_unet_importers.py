"""The public U-Net and Wave-U-Net in other configurations than were recorded, and what is refused.

Written from their descriptions, channels first; torch's own transform and padding.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rtsep.checkpoints.importers import convert, detect
from rtsep.errors import Failure
from rtsep.models.waveunet import segment_sizes

UNET = {
    "n_layers": 2,
    "input_channels": 1,
    "filters_layer_1": 3,
    "kernel_size": [5, 5],
    "stride": [2, 2],
    "n_fft": 32,
    "hop_length": 16,
    "sample_rate": 8000,
}
WAVEUNET = {
    "num_inputs": 2,
    "num_channels": [8, 16, 8],
    "num_outputs": 2,
    "instruments": ["vocals", "other"],
    "kernel_size": 3,
    "target_output_size": 60,
    "conv_type": "gn",
    "res": "fixed",
    "separate": False,
    "depth": 1,
    "strides": 2,
    "sample_rate": 8000,
}


def drawn(shapes: dict) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(1)
    tensors = {}
    for key, shape in shapes.items():
        tensors[key] = 0.3 * torch.randn(shape, generator=random)
        if key.endswith("running_var"):
            tensors[key] = tensors[key].abs() + 0.1
    return tensors


def batch_norm(name: str, channels: int) -> dict:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (channels,) for part in parts} | {f"{name}.num_batches_tracked": ()}


def normed(w: dict, name: str, x: Tensor) -> Tensor:
    parts = ("running_mean", "running_var", "weight", "bias")
    return F.batch_norm(x, *(w[f"{name}.{part}"] for part in parts))


def unet(c: dict):
    """Weights, and (batch, channels, samples) to as many, masked."""
    channels, layers = c["input_channels"], c["n_layers"]
    widths = [channels, *(c["filters_layer_1"] * 2**i for i in range(layers))]
    shapes = {}
    for i in range(layers):
        down, up = f"encoders.{i}", f"decoders.{i}"
        inner, outer = widths[layers - i], widths[layers - i - 1]
        kernel = tuple(c["kernel_size"])
        shapes |= {
            f"{down}.conv_layer.conv.weight": (widths[i + 1], widths[i], *kernel),
            f"{down}.conv_layer.conv.bias": (widths[i + 1],),
            **batch_norm(f"{down}.bn_layer", widths[i + 1]),
            f"{up}.deconv_layer.deconv.weight": (inner * (1 + (i > 0)), outer, *kernel),
            f"{up}.deconv_layer.deconv.bias": (outer,),
            **batch_norm(f"{up}.bn_layer", outer),
        }
    w = drawn(shapes)
    pairs = list(zip(c["kernel_size"], c["stride"], strict=True))
    pad, extra = [(k - s + 1) // 2 for k, s in pairs], [abs(k % 2 - s % 2) for k, s in pairs]
    cut = [(k - s + e) // 2 for (k, s), e in zip(pairs, extra, strict=True)]

    def run(x: Tensor) -> Tensor:
        form = {"n_fft": c["n_fft"], "hop_length": c["hop_length"]}
        form["window"] = torch.hann_window(c["n_fft"])
        spectrum = torch.stft(x.flatten(0, 1), **form, return_complex=True)
        spectrum = spectrum.unflatten(0, x.shape[:2]).mT
        y, seen = spectrum.abs()[..., 1:], []
        for i in range(layers):
            name = f"encoders.{i}.conv_layer.conv"
            y = F.conv2d(y, w[f"{name}.weight"], w[f"{name}.bias"], c["stride"], pad)
            y = F.leaky_relu(normed(w, f"encoders.{i}.bn_layer", y), 0.01)
            seen.append(y)
        for i in range(layers):
            name = f"decoders.{i}.deconv_layer.deconv"
            y = torch.cat([y, seen[-1 - i]], 1) if i else y
            y = F.conv_transpose2d(
                y, w[f"{name}.weight"], w[f"{name}.bias"], c["stride"], cut, extra
            )
            y = normed(w, f"decoders.{i}.bn_layer", y)
            y = torch.sigmoid(y) if i + 1 == layers else torch.relu(y)
        masked = torch.cat([spectrum[..., :1], spectrum[..., 1:] * y], -1).mT
        return torch.istft(masked.flatten(0, 1), **form).unflatten(0, x.shape[:2])

    return w, run


def waveunet(c: dict):
    """Weights, and (batch, channels, samples) to fewer, by instrument."""
    n, k, stride = c["num_channels"], c["kernel_size"], c["strides"]
    levels, root = len(n) - 1, "waveunets.ALL"
    shapes = {}

    def add(name: str, inputs: int, outputs: int) -> None:
        shapes[f"{name}.filter.weight"] = (outputs, inputs, k)
        shapes[f"{name}.filter.bias"] = (outputs,)
        if c["conv_type"] == "bn":
            shapes.update(batch_norm(f"{name}.norm", outputs))
        elif c["conv_type"] == "gn":
            shapes.update({f"{name}.norm.{part}": (outputs,) for part in ("weight", "bias")})

    for i in range(levels):
        down, up = f"{root}.downsampling_blocks.{i}", f"{root}.upsampling_blocks.{i}"
        add(f"{down}.pre_shortcut_convs.0", n[i] if i else c["num_inputs"], n[i])
        add(f"{down}.post_shortcut_convs.0", n[i], n[i + 1])
        shapes[f"{down}.downconv.filter"] = (n[i + 1], 1, 15)
        shapes[f"{up}.upconv.filter"] = (n[-1 - i], 1, 15)
        add(f"{up}.pre_shortcut_convs.0", n[-1 - i], n[-2 - i])
        add(f"{up}.post_shortcut_convs.0", 2 * n[-2 - i], n[-2 - i])
    add(f"{root}.bottlenecks.0", n[-1], n[-1])
    outputs = c["num_outputs"] * len(c["instruments"])
    shapes[f"{root}.output_conv.weight"] = (outputs, n[0], 1)
    shapes[f"{root}.output_conv.bias"] = (outputs,)
    w = drawn(shapes)

    def conv(name: str, x: Tensor) -> Tensor:
        x = F.conv1d(x, w[f"{name}.filter.weight"], w[f"{name}.filter.bias"])
        if c["conv_type"] == "normal":
            return F.leaky_relu(x)
        if c["conv_type"] == "bn":
            return F.relu(normed(w, f"{name}.norm", x))
        gain, bias = w[f"{name}.norm.weight"], w[f"{name}.norm.bias"]
        return F.relu(F.group_norm(x, x.shape[1] // 8, gain, bias))

    def middle(x: Tensor, like: Tensor) -> Tensor:
        cut = (x.shape[-1] - like.shape[-1]) // 2
        return x[..., cut : x.shape[-1] - cut]

    def run(x: Tensor) -> Tensor:
        beside = []
        for i in range(levels):
            down = f"{root}.downsampling_blocks.{i}"
            beside.append(conv(f"{down}.pre_shortcut_convs.0", x))
            x = F.pad(conv(f"{down}.post_shortcut_convs.0", beside[-1]), (7, 7), mode="reflect")
            x = F.conv1d(x, w[f"{down}.downconv.filter"], stride=stride, groups=x.shape[1])
        x = conv(f"{root}.bottlenecks.0", x)
        for i in range(levels):
            up = f"{root}.upsampling_blocks.{i}"
            wanted = (x.shape[-1] - 1) * stride + 1
            x = F.pad(x, (7, 7), mode="reflect")
            x = F.conv_transpose1d(x, w[f"{up}.upconv.filter"], stride=stride, groups=x.shape[1])
            x = conv(f"{up}.pre_shortcut_convs.0", middle(x, x[..., :wanted]))
            x = torch.cat([middle(beside[-1 - i], x), x], 1)
            x = conv(f"{up}.post_shortcut_convs.0", x)
        last = f"{root}.output_conv"
        y = F.conv1d(x, w[f"{last}.weight"], w[f"{last}.bias"]).clamp(-1, 1)
        return y.unflatten(1, (-1, c["num_outputs"]))

    return w, run


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"input_channels": 2, "n_layers": 1},
        {"kernel_size": [3, 4], "stride": [1, 2], "n_layers": 3},
        {"kernel_size": [4, 5], "n_fft": 64},
    ],
)
@torch.no_grad()
def test_unet(change: dict) -> None:
    c = UNET | change
    w, run = unet(c)
    assert detect(w) == "unet"
    model = convert(w, "unet", c)
    frames = 4 * c["stride"][0] ** c["n_layers"]
    x = torch.randn(2, c["input_channels"], (frames - 1) * c["hop_length"])
    found = model.network.segment(x.transpose(1, 2))[:, :, 0].transpose(1, 2)
    torch.testing.assert_close(found, run(x), rtol=0, atol=2e-6)


@torch.no_grad()
def test_unet_in_blocks_and_with_what_is_left() -> None:
    blocks = {"window": 16 * 11, "hop": 32, "lookahead": 16, "crossfade": 8}
    w, run = unet(UNET)
    roles = {"stems": ("voice", "rest"), "primary": "voice"}
    model = convert(w, "unet", UNET | {"blocks": blocks}, **roles)
    assert (model.hop, model.latency) == (32, 24)
    x = torch.randn(1, 1, blocks["window"])
    stems = model.separate(torch.cat([x.new_zeros(1, 1, 16), x], -1))
    torch.testing.assert_close(stems.sum(1)[..., 16:], x)
    # The sixth block is the first whose window is all of x.
    torch.testing.assert_close(stems[:, 0, :, -40:-24], run(x)[..., -40:-24], rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"conv_type": "bn", "num_inputs": 1, "num_outputs": 1},
        {"conv_type": "normal", "num_channels": [3, 4], "strides": 3, "kernel_size": 5},
        {"instruments": ["a", "b", "c"], "target_output_size": 200},
    ],
)
@torch.no_grad()
def test_waveunet(change: dict) -> None:
    c = WAVEUNET | change
    w, run = waveunet(c)
    assert detect(w) == "waveunet"
    model = convert(w, "waveunet", c)
    assert list(model.stems) == c["instruments"]
    window, given = segment_sizes(model.params, output=c["target_output_size"])
    x = torch.randn(2, c["num_inputs"], window)
    expected = run(x)
    assert expected.shape[-1] == given >= c["target_output_size"]
    found = model.network.network.layer.segment(x.transpose(1, 2)).permute(0, 2, 3, 1)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


def test_waveunet_with_blocks_of_ones_own() -> None:
    w, _ = waveunet(WAVEUNET)
    model = convert(w, "waveunet", WAVEUNET | {"blocks": {"hop": 7, "crossfade": 2}})
    assert model.hop == 7


@pytest.mark.parametrize(
    "change, said",
    [
        ({"n_layers": 3}, "n_layers is 3"),
        ({"kernel_size": [3, 3]}, "kernel_size is"),
        ({"stride": 2}, "it must be a list"),
        ({"sample_rate": None}, "does not tell sample_rate"),
        ({"blocks": {"window": 5, "hop": 2, "lookahead": 0, "crossfade": 0}}, "5 samples has"),
    ],
)
def test_unet_refuses(change: dict, said: str) -> None:
    w, _ = unet(UNET)
    with pytest.raises(Failure, match=said):
        convert(w, "unet", UNET | change)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"strides": None}, "does not tell strides"),
        ({"num_channels": [8, 8, 8]}, "num_channels is"),
        ({"num_outputs": 1}, "num_outputs is 1"),
        ({"separate": True}, "separate=True"),
        ({"instruments": ["vocals"]}, "1 stems named"),
    ],
)
def test_waveunet_refuses(change: dict, said: str) -> None:
    w, _ = waveunet(WAVEUNET)
    with pytest.raises(Failure, match=said):
        convert(w, "waveunet", WAVEUNET | change)


@pytest.mark.parametrize(
    "old, new, said",
    [
        (
            "downsampling_blocks.0.downconv.filter",
            "downsampling_blocks.0.downconv.filter.weight",
            "learnt resampling",
        ),
        ("bottlenecks.0.norm.weight", "bottlenecks.1.filter.weight", "depth above 1"),
        ("output_conv.bias", "output_conv.gain", "output_conv.bias is missing"),
    ],
)
def test_waveunet_of_another_make(old: str, new: str, said: str) -> None:
    w, _ = waveunet(WAVEUNET)
    w[f"waveunets.ALL.{new}"] = w.pop(f"waveunets.ALL.{old}")
    with pytest.raises(Failure, match=said):
        convert(w, "waveunet", WAVEUNET)


@pytest.mark.parametrize("format, config", [("unet", UNET), ("waveunet", WAVEUNET)])
def test_tensors_of_something_else(format: str, config: dict) -> None:
    with pytest.raises(Failure, match="is missing"):
        convert({"a": torch.zeros(1)}, format, config)


def test_stems_of_a_unet() -> None:
    w, _ = unet(UNET)
    with pytest.raises(Failure, match="3 stems named"):
        convert(w, "unet", UNET, stems=("a", "b", "c"))
    with pytest.raises(Failure, match="'b' is what is left"):
        convert(w, "unet", UNET, stems=("a", "b"), remainder="a")
