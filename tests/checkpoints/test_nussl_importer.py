"""nussl's separators in other configurations than were recorded, and what is refused.

Written from their description: channels first until the network, torch's modules, a transform of
scipy's kind, in which no window begins before half a window of silence.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rtsep.checkpoints.importers import convert, detect
from rtsep.errors import Failure

ARGUMENTS = {
    "num_features": 17,
    "hidden_size": 6,
    "num_layers": 2,
    "bidirectional": False,
    "dropout": 0.3,
    "num_sources": 2,
    "mask_activation": ["sigmoid"],
    "embedding_size": 3,
    "embedding_activation": ["sigmoid", "unit_norm"],
    "sample_rate": 8000,
    "hop_length": 8,
}
ACTIVATIONS = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}


def drawn(heads: tuple[str, ...], channels: int = 1, norms: int = 1) -> dict[str, Tensor]:
    """A state dict of the sizes above."""
    random = torch.Generator().manual_seed(2)
    bins, hidden = ARGUMENTS["num_features"], ARGUMENTS["hidden_size"]
    shapes = {f"normalization.batch_norm.{k}": (norms,) for k in ("weight", "bias")}
    shapes |= {f"normalization.batch_norm.running_{k}": (norms,) for k in ("mean", "var")}
    for layer, width in enumerate((bins * channels, hidden)):
        for part, columns in (("ih", width), ("hh", hidden)):
            shapes[f"recurrent_stack.rnn.weight_{part}_l{layer}"] = (4 * hidden, columns)
            shapes[f"recurrent_stack.rnn.bias_{part}_l{layer}"] = (4 * hidden,)
    for head in heads:
        size = ARGUMENTS["num_sources" if head == "mask" else "embedding_size"]
        shapes[f"{head}.linear.weight"] = (bins * channels * size, hidden)
        shapes[f"{head}.linear.bias"] = (bins * channels * size,)
    tensors = {k: 0.5 * torch.randn(shape, generator=random) for k, shape in shapes.items()}
    tensors["normalization.batch_norm.running_mean"] -= 40
    tensors["normalization.batch_norm.running_var"] = torch.rand(norms, generator=random) * 200
    tensors["normalization.batch_norm.num_batches_tracked"] = torch.tensor(3)
    return {f"layers.{key}": value for key, value in tensors.items()}


def public(w: dict[str, Tensor], x: Tensor, hop: int, activations: dict) -> dict[str, Tensor]:
    """What each head makes of (batch, channels, samples), and the sound of the masks.

    The sound is overlapped and added over all windows: one part of it at the edges.
    """
    w = {k.removeprefix("layers."): v for k, v in w.items()}
    window, channels, samples = 32, x.shape[1], x.shape[2]
    root = torch.hann_window(window).sqrt()
    padded = F.pad(x, (window // 2, window // 2 + -samples % hop))
    spectrum = torch.fft.rfft(padded.unfold(-1, window, hop) * root / root.sum(), dim=-1)
    level = 10 * torch.log10(spectrum.abs().square().clamp(min=1e-8))
    parts = ("running_mean", "running_var", "weight", "bias")
    norm = [w[f"normalization.batch_norm.{part}"] for part in parts]
    rows = level.permute(0, 3, 1, 2)
    shape = rows.shape
    rows = F.batch_norm(rows.reshape(shape[0], len(norm[0]), -1), *norm).view(shape)
    y = rows.permute(0, 3, 1, 2).flatten(2)
    lstm = torch.nn.LSTM(y.shape[-1], 6, 2, batch_first=True)
    prefix = "recurrent_stack.rnn."
    lstm.load_state_dict({k.removeprefix(prefix): v for k, v in w.items() if prefix in k})
    y = lstm(y)[0]
    found = {}
    for head, names in activations.items():
        z = F.linear(y, w[f"{head}.linear.weight"], w[f"{head}.linear.bias"])
        z = z.unflatten(-1, (17, channels, -1))
        for name in names:
            if name == "unit_norm":
                z = F.normalize(z, dim=-1)
            else:
                z = z.softmax(-1) if name == "softmax" else ACTIVATIONS[name](z)
        found[head] = z
    if "mask" in found:
        masked = found["mask"].permute(0, 4, 3, 1, 2) * spectrum[:, None]
        pieces = torch.fft.irfft(masked, n=window, dim=-1) * root * root.sum()
        found["sound"] = torch.zeros(*pieces.shape[:3], padded.shape[-1])
        squares = torch.zeros(padded.shape[-1])
        for frame in range(pieces.shape[3]):
            where = slice(frame * hop, frame * hop + window)
            found["sound"][..., where] += pieces[..., frame, :]
            squares[where] += root.square()
        inner = slice(window // 2, window // 2 + samples)
        found["sound"] = (found["sound"] / squares.clamp(min=1e-9))[..., inner]
    return found


@pytest.mark.parametrize("heads", [("mask",), ("embedding",), ("mask", "embedding")])
@pytest.mark.parametrize("channels, norms, hop", [(1, 1, 8), (2, 1, 8), (2, 17, 4), (1, 17, 16)])
@torch.no_grad()
def test_equals_the_public_form(heads: tuple, channels: int, norms: int, hop: int) -> None:
    wanted = {"mask": ["softmax"], "embedding": ["tanh", "unit_norm"]}
    activations = {head: wanted[head] for head in heads}
    weights = drawn(heads, channels, norms)
    x = 0.1 * torch.randn(2, channels, 404)
    given = {f"{head}_activation": names for head, names in activations.items()}
    config = ARGUMENTS | given | {"num_audio_channels": channels, "hop_length": hop}
    assert detect(weights) == "nussl"
    model = convert(weights, "nussl", config)
    expected = public(weights, x, hop, activations)
    kinds = {1: "maskinference" if "mask" in heads else "deepclustering", 2: "chimera"}
    assert model.arch == kinds[len(heads)]
    if "embedding" in heads:
        found = model.embed(x)
        torch.testing.assert_close(found, expected["embedding"][:, : found.shape[1]])
    if "mask" in heads:
        found = model.separate(x)[..., 32:370]
        torch.testing.assert_close(found, expected["sound"][..., 32:370])


@pytest.mark.parametrize("mask", ["sigmoid", "relu", "tanh"])
@torch.no_grad()
def test_masks(mask: str) -> None:
    weights, x = drawn(("mask",)), 0.1 * torch.randn(1, 1, 404)
    config = ARGUMENTS | {"mask_activation": [mask]}
    found = convert(weights, "nussl", config).separate(x)[..., 32:370]
    expected = public(weights, x, 8, {"mask": [mask]})["sound"][..., 32:370]
    torch.testing.assert_close(found, expected)


def test_arguments_stored_with_the_network() -> None:
    """As `SeparationModel.save` writes them; the hop is a quarter of the window."""
    graph = {
        "modules": {
            "mix_magnitude": {},
            "normalization": {"class": "BatchNorm", "args": {"eps": 1e-3}},
            "recurrent_stack": {"args": {"bidirectional": False}},
            "mask": {"args": {"activation": ["softmax"], "num_audio_channels": 2}},
        }
    }
    weights = drawn(("mask",), channels=2)
    model = convert(weights, "nussl", {"config": graph}, rate=8000, stems=("voice", "rest"))
    assert model.stems == ("voice", "rest") and model.channels == 2
    assert model.params["mask"] == "softmax" and model.hop == 8


def test_how_many_sources_are_clustered() -> None:
    weights = drawn(("embedding",))
    assert len(convert(weights, "nussl", ARGUMENTS | {"num_sources": 3}).stems) == 3
    model = convert(weights, "nussl", ARGUMENTS, stems=("a", "b", "c", "d"))
    assert model.stems == ("a", "b", "c", "d")


def reversed_too(w: dict) -> dict:
    key = "layers.recurrent_stack.rnn.weight_ih_l0"
    return w | {f"{key}_reverse": w[key]}


def of_another_norm(w: dict) -> dict:
    return {k.replace("batch_norm", "instance_norm"): v for k, v in w.items()}


def of_gated_units(w: dict) -> dict:
    return {k: v[:18] if "_l0" in k else v for k, v in w.items()}


@pytest.mark.parametrize(
    "spoilt, said",
    [
        (reversed_too, "not causal: layers.recurrent_stack.rnn run"),
        (of_another_norm, "no batch norm"),
        (of_gated_units, "is no LSTM"),
    ],
)
def test_networks_that_can_not_be_streamed(spoilt, said: str) -> None:
    with pytest.raises(Failure, match=said):
        convert(spoilt(drawn(("mask",))), "nussl", ARGUMENTS)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"mask_activation": ["gated_tanh", "sigmoid"]}, "mask_activation gated_tanh, sigmoid"),
        ({"mask_activation": ["sigmoid", "unit_norm"]}, "mask_activation sigmoid, unit_norm"),
        ({"embedding_activation": ["sigmoid"]}, "embedding_activation sigmoid"),
        ({"embedding_activation": ["relu", "unit_norm"]}, "embedding_activation relu"),
        ({"mask_activation": None, "sample_rate": None}, "tell sample_rate, mask_activation"),
        ({"num_features": 18}, "num_features is 18 by the settings, 17"),
        ({"num_sources": 3}, "num_sources is 3 by the settings, 2"),
        ({"bidirectional": True}, "bidirectional is True"),
        ({"num_audio_channels": 3}, "num_audio_channels is 3"),
        ({"window_length": 64}, "window_length is 64"),
        ({"window_type": "hamming"}, "window_type 'hamming'"),
        ({"hop_length": 0}, "hop 0"),
    ],
)
def test_settings_that_do_not_fit(changes: dict, said: str) -> None:
    with pytest.raises(Failure, match=said):
        convert(drawn(("mask", "embedding")), "nussl", ARGUMENTS | changes)
