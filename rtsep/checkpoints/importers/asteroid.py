"""asteroid's `ConvTasNet` with the free filterbank (github.com/asteroid-team/asteroid, MIT).

Its files are `serialize()` dictionaries with `state_dict` and `model_args`; a plain state dict is
read too. The encoder does not pad. "cLN" is a norm of each frame, "cgLN" the cumulative one.
`n_filters`, `kernel_size`, `bn_chan`, `hid_chan`, `skip_chan`, `conv_kernel_size` and `n_src` come
from the shapes; `stride`, `norm_type`, `mask_act`, `sample_rate` and `n_blocks` don't.
"""

from __future__ import annotations

from rtsep.checkpoints.importers.causality import not_causal, refuse_batch_norms
from rtsep.checkpoints.importers.parts import fill, new_model, norm_keys, product_keys
from rtsep.checkpoints.importers.settings import Settings
from rtsep.checkpoints.importers.tensors import Tensors
from rtsep.errors import Failure
from rtsep.models.base import Separator
from rtsep.models.convtasnet import ACTIVATIONS

_NORMS = {"cLN": "frame", "cgLN": "cumulative"}
_ELEMENTWISE = {name: name for name in ACTIVATIONS}
_MASKS = _ELEMENTWISE | {"softmax": "softmax"}
_BLOCK = "masker.TCN.{}.shared_block"

# Tensors by which the format is known, as regular expressions.
KEYS = (r"encoder\.filterbank\._filters", r"masker\.TCN\.0\.shared_block\.")


def build(public: Tensors, settings: Settings, roles: dict) -> Separator:
    """The model; `Failure` for what does not fit or is not causal."""
    bank = settings.get("fb_name", str, "free")
    if bank.lower().removesuffix("fb") != "free":
        raise Failure(f"fb_name {bank!r}: only the learnt filterbank 'free' is a Conv-TasNet's")
    block = _BLOCK.format(0)
    filters, channels, kernel = public.sizes("encoder.filterbank._filters", 3)
    bottleneck, _, _ = public.sizes("masker.bottleneck.1.weight", 3)
    hidden, _, _ = public.sizes(f"{block}.0.weight", 3)
    count = len(public.numbers(r"masker\.TCN\.(\d+)\."))
    # The causal form cuts the convolution's end in a layer of its own beside it, so it is number 0.
    centred = f"{block}.3.0.weight" not in public and f"{block}.3.weight" in public
    if centred or settings.get("causal", bool, True) is not True:
        raise not_causal([f"{_BLOCK.format(i)}.3" for i in range(count)])
    refuse_batch_norms(public)
    _, _, taps = public.sizes(f"{block}.3.0.weight", 3)
    with_skips = "masker.TCN.0.skip_conv.weight" in public
    skip = public.sizes("masker.TCN.0.skip_conv.weight", 3)[0] if with_skips else 0
    rows, _, _ = public.sizes("masker.mask_net.1.weight", 3)
    masks = rows // filters
    settings.agree(
        n_filters=filters,
        kernel_size=kernel,
        in_chan=filters,
        out_chan=filters,
        bn_chan=bottleneck,
        hid_chan=hidden,
        skip_chan=skip,
        conv_kernel_size=taps,
        n_src=masks,
    )
    rate, stride, norm, mask, blocks = settings.need_rate(
        "sample_rate", stride=int, norm_type=str, mask_act=str, n_blocks=int
    )
    repeats = split(settings, "n_blocks", blocks, "n_repeats", count)
    if norm == "gLN":
        norms = [f"{_BLOCK.format(i)}.{k}" for i in range(count) for k in (2, 5)]
        raise not_causal(["masker.bottleneck.0", *norms], "see the whole signal (norm_type gLN)")
    model = new_model(
        roles,
        masks,
        rate=rate,
        channels=channels,
        filters=filters,
        kernel=kernel,
        stride=stride,
        padding=0,
        bottleneck=bottleneck,
        hidden=hidden,
        skip=skip,
        taps=taps,
        blocks=blocks,
        repeats=repeats,
        norm=settings.choice("norm_type", norm, _NORMS),
        mask=settings.choice("mask_act", mask, _MASKS),
        activation=settings.choice(
            "encoder_activation", settings.get("encoder_activation", str, "linear"), _ELEMENTWISE
        ),
    )
    fill(model, public, _keys(count))
    return model


def split(settings: Settings, inner: str, blocks: int, outer: str, count: int) -> int:
    """Into how many repeats of `blocks` the `count` blocks fall, checked against the settings."""
    if blocks < 1 or count % blocks:
        raise Failure(f"{inner} is {blocks}, by the tensors there are {count} blocks in all")
    settings.agree(**{outer: count // blocks})
    return count // blocks


def _keys(count: int) -> dict[str, str]:
    keys = {
        "encoder.weight": "encoder.filterbank._filters",
        "decoder.weight": "decoder.filterbank._filters",
        "head.weight": "masker.mask_net.0.weight",
        **norm_keys("norm", "masker.bottleneck.0", "gamma", "beta"),
        **product_keys("entry", "masker.bottleneck.1"),
        **product_keys("exit", "masker.mask_net.1"),
    }
    for i in range(count):
        ours, theirs = f"blocks.{i}", _BLOCK.format(i)
        keys |= {
            f"{ours}.act1.weight": f"{theirs}.1.weight",
            f"{ours}.act2.weight": f"{theirs}.4.weight",
            **product_keys(f"{ours}.entry", f"{theirs}.0"),
            **norm_keys(f"{ours}.norm1", f"{theirs}.2", "gamma", "beta"),
            **product_keys(f"{ours}.depthwise", f"{theirs}.3.0"),
            **norm_keys(f"{ours}.norm2", f"{theirs}.5", "gamma", "beta"),
            **product_keys(f"{ours}.residual", f"masker.TCN.{i}.res_conv"),
            **product_keys(f"{ours}.skip", f"masker.TCN.{i}.skip_conv"),
        }
    return keys
