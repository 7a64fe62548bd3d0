"""openunmix's `OpenUnmix` and `Separator` (github.com/sigsep/open-unmix-pytorch, MIT).

A plain state dict: of one target's network, or of a separator with several under `target_models`.
The networks must be `unidirectional`. The transform is centred, with Hann windows of `n_fft` and
the signal's reflection before its start; `n_hop` is a quarter of `n_fft` where nothing says else,
as in all weights of the authors. All sizes come from the shapes; `sample_rate` from a separator
alone. `softmask` is taken over, `residual` becomes a stem that takes what the others leave, and
the rounds of the Wiener filter (`niter`) are refused: they see the whole signal.
"""

from __future__ import annotations

import re

import torch

from rtsep.checkpoints.importers.causality import not_causal, refuse_backwards
from rtsep.checkpoints.importers.roles import named
from rtsep.checkpoints.importers.settings import Settings
from rtsep.checkpoints.importers.tensors import Tensors
from rtsep.errors import Failure
from rtsep.models import create
from rtsep.models.base import Separator
from rtsep.models.openunmix import TargetNetworks

_TARGET = r"(target_models\.[^.]+\.)?"

# Tensors by which the format is known, as regular expressions.
KEYS = tuple(_TARGET + rf"{name}$" for name in (r"input_scale", r"fc3\.weight", r"bn3\.weight"))


def build(public: Tensors, settings: Settings, roles: dict) -> Separator:
    """The model; `Failure` for what does not fit or is not causal."""
    refuse_backwards(public)
    if settings.get("niter", int, 0):
        raise not_causal(["the Wiener filter (niter above 0)"], "sees the whole signal")
    prefixes = _targets(public, settings)
    sizes = [_sizes(public, prefix) for prefix in prefixes]
    for prefix, other in zip(prefixes, sizes, strict=True):
        if other != sizes[0]:
            raise Failure(f"{prefix}* is of another size than {prefixes[0]}*: they can't be one")
    bins, channels, hidden, layers, max_bin = sizes[0]
    nested = Settings(settings.get("target", dict, {}))
    for given in (settings, nested):
        given.agree(nb_bins=bins, nb_channels=channels, hidden_size=hidden, nb_layers=layers)
        given.agree(max_bin=max_bin, unidirectional=True)
    window = 2 * (bins - 1)
    hop = settings.get("n_hop", int, settings.get("nhop", int, window // 4))
    settings.agree(n_fft=window, nfft=window)
    rate = _rate(public, settings)
    _discard(public, window)

    names = [prefix.split(".")[1] for prefix in prefixes if prefix]
    residual = settings.get("residual", bool, False)
    if residual:
        names = [*(names or ["target"]), "residual"]
        roles = roles | {"remainder": (roles["stems"] or names)[-1]}
    model = create(
        "openunmix",
        rate=rate,
        channels=channels,
        window=window,
        hop=hop,
        synthesis=None,
        padding=window // 2,
        reflect=True,
        shape="hann",
        hidden=hidden,
        layers=layers,
        max_bin=max_bin,
        softmask=settings.get("softmask", bool, False),
        consistency="remainder" if residual else "none",
        **named(roles, len(prefixes) + residual, names),
    )
    networks = next(part for part in model.modules() if isinstance(part, TargetNetworks))
    for target, prefix in enumerate(prefixes):
        _fill(networks, target, public, prefix)
    return model


def _targets(public: Tensors, settings: Settings) -> list[str]:
    """What the keys of each target begin with, in the order of the outputs."""
    found = [name for (name,) in public.names(r"target_models\.([^.]+)\.")]
    if not found:
        return [""]
    # A file may have sorted its tensors: the settings know the order.
    order = [str(name) for name in settings.get("targets", list, found)]
    if sorted(order) != sorted(found):
        raise Failure(f"targets are {', '.join(order)}, those of the tensors {', '.join(found)}")
    return [f"target_models.{name}." for name in order]


def _sizes(public: Tensors, prefix: str) -> tuple[int, int, int, int, int]:
    """Bins, channels, hidden units, layers and bins seen of a target."""
    (max_bin,) = public.sizes(f"{prefix}input_scale", 1)
    (bins,) = public.sizes(f"{prefix}output_scale", 1)
    hidden, seen = public.sizes(f"{prefix}fc1.weight", 2)
    layers = len(public.numbers(re.escape(prefix) + r"lstm\.weight_ih_l(\d+)$"))
    return bins, seen // max_bin, hidden, layers, max_bin


def _rate(public: Tensors, settings: Settings) -> int:
    if settings.rate is None and "sample_rate" in public:
        rate = int(public.take("sample_rate"))
        settings.agree(sample_rate=rate)
        return rate
    (rate,) = settings.need_rate("sample_rate")
    return rate


def _discard(public: Tensors, window: int) -> None:
    """What is computed from the settings, not learnt."""
    for (key,) in public.names(r"((?:.*\.)?(?:sample_rate|num_batches_tracked))$"):
        public.take(key)
    for (key,) in public.names(r"((?:stft|istft|transform\.\d+)\.window)$"):
        if not torch.allclose(public.take(key, window), torch.hann_window(window), atol=1e-6):
            raise Failure(f"tensor {key} is no Hann window")


@torch.no_grad()
def _fill(networks: TargetNetworks, target: int, public: Tensors, prefix: str) -> None:
    targets, bins, channels = networks.outputs
    for name, tensor in networks.state_dict().items():
        layer, is_norm, part = name.partition(".norm.")
        key = f"bn{layer[-1]}.{part}" if is_norm else name
        place = tensor.chunk(targets)[target] if is_norm else tensor[target]
        value = public.take(prefix + key, *place.shape)
        # Theirs are channel after channel, ours bin after bin.
        if name == "fc1.weight":
            value = value.unflatten(1, (channels, -1)).transpose(1, 2).flatten(1)
        elif layer == "fc3" or name == "fc3.weight":
            value = value.unflatten(0, (channels, bins)).transpose(0, 1).flatten(0, 1)
        place.copy_(value)
