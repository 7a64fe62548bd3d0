"""naplab's `TasNet` (github.com/naplab/Conv-TasNet), a plain state dict.

It pads one stride of zeros on the left, and this first frame enters its cumulative norm; the masks
are sigmoids; the stride is half the window. `enc_dim`, `feature_dim`, the window in samples,
`kernel` and `num_spk` come from the shapes; `sr` and `layer` (blocks per stack) don't.
"""

from __future__ import annotations

from rtsep.checkpoints.importers.asteroid import split
from rtsep.checkpoints.importers.causality import not_causal, refuse_batch_norms
from rtsep.checkpoints.importers.parts import fill, new_model, norm_keys, product_keys
from rtsep.checkpoints.importers.settings import Settings
from rtsep.checkpoints.importers.tensors import Tensors
from rtsep.models.base import Separator

# Tensors by which the format is known, as regular expressions.
KEYS = (r"TCN\.BN\.weight", r"TCN\.TCN\.0\.dconv1d\.weight")


def build(public: Tensors, settings: Settings, roles: dict) -> Separator:
    """The model; `Failure` for what does not fit or is not causal."""
    filters, channels, kernel = public.sizes("encoder.weight", 3)
    count = len(public.numbers(r"TCN\.TCN\.(\d+)\."))
    # The class has cumulative norms where it is causal, torch's group norms where it is centred.
    centred = "TCN.LN.gain" not in public and "TCN.LN.weight" in public
    if centred or settings.get("causal", bool, True) is not True:
        raise not_causal([f"TCN.TCN.{i}.dconv1d" for i in range(count)])
    refuse_batch_norms(public)
    bottleneck, _, _ = public.sizes("TCN.BN.weight", 3)
    hidden, _, _ = public.sizes("TCN.TCN.0.conv1d.weight", 3)
    _, _, taps = public.sizes("TCN.TCN.0.dconv1d.weight", 3)
    skip, _, _ = public.sizes("TCN.TCN.0.skip_out.weight", 3)
    rows, _, _ = public.sizes("TCN.output.1.weight", 3)
    masks = rows // filters
    settings.agree(enc_dim=filters, feature_dim=bottleneck, kernel=taps, num_spk=masks)
    rate, blocks = settings.need_rate("sr", layer=int)
    repeats = split(settings, "layer", blocks, "stack", count)
    model = new_model(
        roles,
        masks,
        rate=rate,
        channels=channels,
        filters=filters,
        kernel=kernel,
        stride=kernel // 2,
        padding=kernel // 2,
        bottleneck=bottleneck,
        hidden=hidden,
        skip=skip,
        taps=taps,
        blocks=blocks,
        repeats=repeats,
        norm="cumulative",
        mask="sigmoid",
    )
    fill(model, public, _keys(count))
    return model


def _keys(count: int) -> dict[str, str]:
    keys = {
        "encoder.weight": "encoder.weight",
        "decoder.weight": "decoder.weight",
        "head.weight": "TCN.output.0.weight",
        **norm_keys("norm", "TCN.LN", "gain", "bias"),
        **product_keys("entry", "TCN.BN"),
        **product_keys("exit", "TCN.output.1"),
    }
    for i in range(count):
        ours, theirs = f"blocks.{i}", f"TCN.TCN.{i}"
        keys |= {
            f"{ours}.act1.weight": f"{theirs}.nonlinearity1.weight",
            f"{ours}.act2.weight": f"{theirs}.nonlinearity2.weight",
            **product_keys(f"{ours}.entry", f"{theirs}.conv1d"),
            **norm_keys(f"{ours}.norm1", f"{theirs}.reg1", "gain", "bias"),
            **product_keys(f"{ours}.depthwise", f"{theirs}.dconv1d"),
            **norm_keys(f"{ours}.norm2", f"{theirs}.reg2", "gain", "bias"),
            **product_keys(f"{ours}.residual", f"{theirs}.res_out"),
            **product_keys(f"{ours}.skip", f"{theirs}.skip_out"),
        }
    return keys
