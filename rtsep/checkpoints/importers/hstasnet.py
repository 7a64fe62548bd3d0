"""hs-tasnet's `HSTasNet` (github.com/lucidrains/hs-tasnet, MIT).

Its files hold the state dict and, pickled apart, the arguments, which are read without running
code; a plain state dict is read too. The transform pads half a window of zeros; its windows are
Hann's, of which the learnt decoder's functions are multiples. A bias of the decoder is stored and
never used. All sizes come from the shapes; `sample_rate` and `overlap_len` (the hop) don't.
Recurrences other than LSTMs (`use_gru`, `rnn_klass`) are refused.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rtsep.checkpoints.importers.roles import named
from rtsep.checkpoints.importers.settings import Settings
from rtsep.checkpoints.importers.tensors import Tensors
from rtsep.errors import Failure
from rtsep.layers import Conv, ConvTranspose
from rtsep.models import create
from rtsep.models.base import Separator
from rtsep.models.hstasnet import HybridNetwork

# Tensors by which the format is known, as regular expressions.
KEYS = (r"conv_encode\.weight$", r"pre_waveform_branch\.", r"to_spec_masks\.1\.weight$")

_BRANCHES = {"pre_wave": "pre_waveform", "post_wave": "post_waveform"}
_PRODUCTS = {
    "spec_entry": "spec_encode.1",
    "wave_entry": "basis_to_embed.0",
    "spec_exit.0": "to_spec_masks.0",
    "spec_exit.1": "to_spec_masks.1",
    "wave_exit.0": "to_waveform_masks.0",
    "wave_exit.1": "to_waveform_masks.1",
}


def build(public: Tensors, settings: Settings, roles: dict) -> Separator:
    """The model; `Failure` for what does not fit."""
    functions, channels, window = public.sizes("conv_encode.weight", 3)
    hidden, seen = public.sizes("spec_encode.1.weight", 2)
    joined = _joined(public)
    basis, bins, small = functions // 2, window // 2 + 1, joined == hidden
    rows, _ = public.sizes("to_waveform_masks.1.weight", 2)
    masks, phase = rows // basis, seen == 2 * bins * channels
    settings.agree(
        dim=hidden,
        small=small,
        stereo=channels == 2,
        num_basis=basis,
        segment_len=window,
        n_fft=window,
        num_sources=masks,
        use_gru=False,
        spec_branch_use_phase=phase,
        norm_before_mask_estimate="to_spec_masks.0.weight" in public,
    )
    rate, hop = settings.need_rate("sample_rate", overlap_len=int)
    model = create(
        "hstasnet",
        rate=rate,
        channels=channels,
        window=window,
        hop=hop,
        synthesis=None,
        padding=window // 2,
        shape="hann",
        basis=basis,
        hidden=hidden,
        small=small,
        phase=phase,
        norm="to_spec_masks.0.weight" in public,
        **named(roles, masks),
    )
    _fill(model, public)
    for key, length in (
        ("conv_decode.bias", channels),
        ("stft.streaming_envelope", window),
        ("stft.window", window),
    ):
        public.take(key, length)
    return model


def _joined(public: Tensors) -> int:
    """The units of the recurrence that joins the branches."""
    rows, _ = public.sizes("fusion_branch.weight_ih_l0", 2)
    _, units = public.sizes("fusion_branch.weight_hh_l0", 2)
    if rows != 4 * units:
        raise Failure(
            f"fusion_branch has {rows / units:g} gates per unit: only LSTMs, of 4, are read"
        )
    return units


@torch.no_grad()
def _fill(model: Separator, public: Tensors) -> None:
    heart = _part(model, HybridNetwork)
    spectrum, masks = _part(model, Conv).inputs[0], heart.masks
    for name, tensor in heart.state_dict().items():
        value = public.take(_key(name), *tensor.shape)
        if name.startswith("spec_e"):
            value = _bins_first(name, value, spectrum, masks, 2 if heart.phase else 1)
        tensor.copy_(value)
    encoder, decoder = _part(model, Conv), _part(model, ConvTranspose)
    for part in ("weight", "bias"):
        tensor = getattr(encoder, part)
        tensor.copy_(public.take(f"conv_encode.{part}", *tensor.shape))
    tapered = public.take("conv_decode.weight", *decoder.weight.shape)
    decoder.weight.copy_(tapered * public.take("conv_decode.window", decoder.kernel))


def _key(name: str) -> str:
    layer, _, part = name.rpartition(".")
    if layer.startswith("recurrences."):
        place = layer.split(".")[1]
        return f"{_BRANCHES.get(place, place)}_branch.{part}"
    return f"{_PRODUCTS[layer]}.{part}"


def _bins_first(name: str, value: Tensor, channels: int, masks: int, kinds: int) -> Tensor:
    """Theirs are channel after channel, and the stems fastest; ours stem after stem, bin by bin."""
    if name == "spec_entry.weight":
        return value.unflatten(1, (channels, -1, kinds)).transpose(1, 2).flatten(1)
    if name.startswith("spec_exit.1."):
        parts = value.unflatten(0, (channels, -1, kinds, masks)).movedim(3, 0)
        return parts.transpose(1, 2).flatten(0, 3)
    return value


def _part(model: Separator, kind: type):
    return next(part for part in model.modules() if isinstance(part, kind))
