"""nussl's recurrent Mask Inference, Deep Clustering and Chimera (github.com/nussl/nussl, MIT).

Its files are `SeparationModel.save()` dictionaries, whose `metadata` tells how the modules are
connected; a plain state dict is read with the arguments of the `build_recurrent_…` functions. What
the heads are tells which of the three it is. Sizes come from the shapes, the activations from the
arguments. The transform is no part of the network: windows are roots of Hann windows of
`2 * (num_features - 1)` samples, centred; `hop_length` is a quarter where nothing says else, as it
is in nussl. The recurrent layers must be forward LSTMs, the norm a batch norm.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rtsep.checkpoints.importers.causality import refuse_backwards
from rtsep.checkpoints.importers.roles import named
from rtsep.checkpoints.importers.settings import Settings
from rtsep.checkpoints.importers.tensors import Tensors
from rtsep.errors import Failure
from rtsep.layers import LSTM, Affine
from rtsep.models import create
from rtsep.models.embedding import UNITS, Embedding
from rtsep.models.spectral import MASKS, Head, SpectralSeparator

_RNN = "layers.recurrent_stack.rnn"
_NORM = "layers.normalization.batch_norm"
_MASK, _EMBEDDING = "layers.mask.linear", "layers.embedding.linear"

# Tensors by which the format is known, as regular expressions.
KEYS = (r"layers\.recurrent_stack\.rnn\.", r"layers\.(mask|embedding)\.linear\.weight")


def build(public: Tensors, settings: Settings, roles: dict) -> SpectralSeparator:
    """The model; `Failure` for what does not fit or is not causal."""
    refuse_backwards(public)
    settings = Settings(_arguments(settings.given), rate=settings.rate)
    channels = settings.get("num_audio_channels", int, 1)
    gates, width = public.sizes(f"{_RNN}.weight_ih_l0", 2)
    _, hidden = public.sizes(f"{_RNN}.weight_hh_l0", 2)
    if gates != 4 * hidden:
        raise Failure(f"{_RNN} is no LSTM: of recurrent layers, only those can be streamed")
    if channels not in (1, 2) or width % channels:
        raise Failure(f"num_audio_channels is {channels}, the network sees {width} numbers")
    if f"{_NORM}.running_mean" not in public:
        raise Failure("layers.normalization is no batch norm: others see the whole signal")
    bins, points = width // channels, width
    layers = len(public.numbers(r"layers\.recurrent_stack\.rnn\.weight_ih_l(\d+)$"))
    settings.agree(num_features=bins, hidden_size=hidden, num_layers=layers, bidirectional=False)
    window = 2 * (bins - 1)
    common = {
        "channels": channels,
        "window": window,
        "hop": settings.get("hop_length", int, window // 4),
        "synthesis": None,
        "padding": window // 2,
        "feature": "decibels",
        "norm": "affine",
        "hidden": hidden,
        "layers": layers,
        "residual": False,
    }
    settings.agree(window_length=window)
    if (shape := settings.get("window_type", str, "sqrt_hann")) != "sqrt_hann":
        raise Failure(f"window_type {shape!r}: only sqrt_hann can be streamed")
    wanted = {f"{kind}_activation": list for kind in _heads(public)}
    rate, *activations = settings.need_rate("sample_rate", **wanted)
    stems = None
    for kind, names in zip(_heads(public), activations, strict=True):
        size = public.sizes(f"layers.{kind}.linear.weight", 2)[0] // points
        if kind == "mask":
            stems = size
            common["mask"] = _activation(kind, names, MASKS)
            settings.agree(num_sources=size)
        else:
            common["embedding"] = size
            common["activation"] = _activation(kind, names, UNITS)
            settings.agree(embedding_size=size)
    if stems is None:
        # How many sources there are is decided when embeddings are clustered, not by the network.
        stems = len(roles["stems"] or ()) or settings.get("num_sources", int, 2)
    model = create(_architecture(public), rate=rate, **common, **named(roles, stems))
    _fill(model, public, settings.get("normalization_args", dict, {}).get("eps", 1e-5))
    return model


def _arguments(given: dict) -> dict:
    """Those of the function that built the network, from what its modules were made with."""
    graph = given.pop("config", None)
    modules = graph.get("modules", {}) if isinstance(graph, dict) else {}
    found = {}
    for module, names in _TOLD.items():
        arguments = modules.get(module, {}).get("args", {})
        found |= {ours: arguments[name] for name, ours in names.items() if name in arguments}
    if "args" in modules.get("normalization", {}):
        found["normalization_args"] = modules["normalization"]["args"]
    return found | given


_TOLD = {
    "mask": {"activation": "mask_activation", "num_audio_channels": "num_audio_channels"},
    "embedding": {"activation": "embedding_activation", "num_audio_channels": "num_audio_channels"},
    "recurrent_stack": {"bidirectional": "bidirectional"},
}


def _heads(public: Tensors) -> list[str]:
    return [kind for kind in ("mask", "embedding") if f"layers.{kind}.linear.weight" in public]


def _architecture(public: Tensors) -> str:
    heads = _heads(public)
    if len(heads) == 2:
        return "chimera"
    return "maskinference" if heads == ["mask"] else "deepclustering"


def _activation(kind: str, names: list, accepted) -> str:
    """Our name for a list of activations; an embedding's must end with a length of 1."""
    rest = [name for name in names if name != "unit_norm"]
    ours = rest[0] if rest else "linear"
    if len(rest) > 1 or ours not in accepted or ("unit_norm" in names) != (kind == "embedding"):
        said = ", ".join(map(str, names))
        suffix = " and unit_norm" if kind == "embedding" else ""
        raise Failure(f"{kind}_activation {said}: it is one of {', '.join(accepted)}{suffix}")
    return ours


@torch.no_grad()
def _fill(model: SpectralSeparator, public: Tensors, eps: float) -> None:
    parts = list(model.modules())
    affine = next(part for part in parts if isinstance(part, Affine))
    gain, bias = _folded(public, eps)
    # One for all bins, or one for each; channels are fastest in ours.
    affine.weight.copy_(_spread(gain, model))
    affine.bias.copy_(_spread(bias, model))
    recurrent = [part for part in parts if isinstance(part, LSTM)]
    for layer, lstm in enumerate(recurrent):
        for name, parameter in lstm.named_parameters():
            key = f"{_RNN}.{name.removesuffix('0')}{layer}"
            parameter.copy_(public.take(key, *parameter.shape))
    for part in parts:
        if not isinstance(part, Head):
            continue
        # Theirs are bins, channels, then what there is for each of them.
        embeds = isinstance(part, Embedding)
        prefix, order = (_EMBEDDING, (0, 1, 2)) if embeds else (_MASK, (2, 0, 1))
        for name, parameter in part.product.named_parameters():
            value = public.take(f"{prefix}.{name}", *parameter.shape)
            value = value.unflatten(0, (model.bins, model.channels, -1))
            rest = range(3, value.dim())
            parameter.copy_(value.permute(*order, *rest).flatten(0, 2))


def _folded(public: Tensors, eps: float) -> tuple[Tensor, Tensor]:
    """What a batch norm multiplies by and adds, once it is trained."""
    (size,) = public.sizes(f"{_NORM}.running_mean", 1)
    mean, variance, weight, bias = (
        public.take(f"{_NORM}.{name}", size).double()
        for name in ("running_mean", "running_var", "weight", "bias")
    )
    if f"{_NORM}.num_batches_tracked" in public:
        public.take(f"{_NORM}.num_batches_tracked")
    gain = weight / (variance + eps).sqrt()
    return gain, bias - mean * gain


def _spread(value: Tensor, model: SpectralSeparator) -> Tensor:
    if len(value) not in (1, model.bins):
        raise Failure(f"{_NORM} has {len(value)} features: it is 1, or one for each of the bins")
    return value.repeat_interleave(model.bins * model.channels // len(value))
