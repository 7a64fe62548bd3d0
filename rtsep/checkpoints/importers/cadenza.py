"""The Cadenza challenge's `ConvTasNetStereo` (github.com/claritychallenge/clarity, MIT).

A plain state dict. ReLU after the encoder, which does not pad; no biases, no skip paths, no PReLU
before the masks; the decoder is a product with a matrix (N to channels * L, channel after channel).
`N`, `L`, `B`, `H`, `P`, `X`, `R`, `C` and `audio_channels` come from the keys and shapes;
`samplerate`, `norm_type` and `mask_nonlinear` don't.
"""

from __future__ import annotations

from rtsep.checkpoints.importers.causality import not_causal, refuse_batch_norms
from rtsep.checkpoints.importers.parts import fill, new_model, norm_keys
from rtsep.checkpoints.importers.settings import Settings
from rtsep.checkpoints.importers.tensors import Tensors
from rtsep.models.base import Separator

_NETWORK = "separator.network"
_MASKS = {"relu": "relu", "softmax": "softmax"}

# Tensors by which the format is known, as regular expressions.
KEYS = (r"encoder\.conv1d_U\.weight", r"separator\.network\.2\.0\.0\.")


def build(public: Tensors, settings: Settings, roles: dict) -> Separator:
    """The model; `Failure` for what does not fit or is not causal."""
    block = f"{_NETWORK}.2.0.0.net"
    filters, channels, kernel = public.sizes("encoder.conv1d_U.weight", 3)
    bottleneck, _, _ = public.sizes(f"{_NETWORK}.1.weight", 3)
    hidden, _, taps = public.sizes(f"{block}.3.net.0.weight", 3)
    places = public.numbers(r"separator\.network\.2\.(\d+)\.(\d+)\.")
    # The causal form cuts the convolution's end in a layer of its own, so the last is number 4.
    centred = f"{block}.3.net.4.weight" not in public and f"{block}.3.net.3.weight" in public
    if centred or settings.get("causal", bool, True) is not True:
        raise not_causal([f"{_NETWORK}.2.{r}.{x}.net.3.net.0" for r, x in places])
    refuse_batch_norms(public)
    rows, _, _ = public.sizes(f"{_NETWORK}.3.weight", 3)
    repeats, blocks = (len({place[axis] for place in places}) for axis in (0, 1))
    masks = rows // filters
    settings.agree(
        N=filters,
        L=kernel,
        B=bottleneck,
        H=hidden,
        P=taps,
        X=blocks,
        R=repeats,
        C=masks,
        audio_channels=channels,
    )
    rate, norm, mask = settings.need_rate("samplerate", norm_type=str, mask_nonlinear=str)
    if norm == "gLN":
        norms = [f"{_NETWORK}.2.{r}.{x}.net.{k}" for r, x in places for k in ("2", "3.net.3")]
        raise not_causal([f"{_NETWORK}.0", *norms], "see the whole signal (norm_type gLN)")
    model = new_model(
        roles,
        masks,
        rate=rate,
        channels=channels,
        filters=filters,
        kernel=kernel,
        padding=0,
        bottleneck=bottleneck,
        hidden=hidden,
        skip=0,
        taps=taps,
        blocks=blocks,
        repeats=repeats,
        norm=settings.choice("norm_type", norm, {"cLN": "frame"}),
        mask=settings.choice("mask_nonlinear", mask, _MASKS),
        activation="relu",
        bias=False,
        head=False,
    )
    matrix = public.take("decoder.basis_signals.weight", channels * kernel, filters)
    decoder = matrix.T.reshape(filters, channels, kernel)
    fill(model, public, _keys(repeats, blocks), decoder)
    return model


def _keys(repeats: int, blocks: int) -> dict[str, str]:
    keys = {
        "encoder.weight": "encoder.conv1d_U.weight",
        "entry.weight": f"{_NETWORK}.1.weight",
        "exit.weight": f"{_NETWORK}.3.weight",
        **norm_keys("norm", f"{_NETWORK}.0", "gamma", "beta"),
    }
    for i in range(repeats * blocks):
        ours, theirs = f"blocks.{i}", f"{_NETWORK}.2.{i // blocks}.{i % blocks}.net"
        keys |= {
            f"{ours}.entry.weight": f"{theirs}.0.weight",
            f"{ours}.act1.weight": f"{theirs}.1.weight",
            **norm_keys(f"{ours}.norm1", f"{theirs}.2", "gamma", "beta"),
            f"{ours}.depthwise.weight": f"{theirs}.3.net.0.weight",
            f"{ours}.act2.weight": f"{theirs}.3.net.2.weight",
            **norm_keys(f"{ours}.norm2", f"{theirs}.3.net.3", "gamma", "beta"),
            f"{ours}.residual.weight": f"{theirs}.3.net.4.weight",
        }
    return keys
