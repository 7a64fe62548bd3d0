"""f90's `Waveunet` (github.com/f90/Wave-U-Net-Pytorch, MIT), with fixed resampling.

A plain state dict, or the project's checkpoint. Convolutions that pad nothing, two before each
decimation and two after each interpolation, sinc filters that reflect a segment's ends, outputs
clipped to full scale. Widths, kernels, norm and filter come from the keys and shapes; `strides`,
`target_output_size` (which sets the segment) and `sample_rate` don't. It runs in blocks: as
`blocks` says, an object of hop, lookahead and crossfade in samples, else in hops of a quarter of
what a segment gives, an eighth of it looked ahead.
"""

from __future__ import annotations

from collections.abc import Iterator

from rtsep.checkpoints.importers.roles import named
from rtsep.checkpoints.importers.settings import Settings
from rtsep.checkpoints.importers.tensors import Tensors
from rtsep.checkpoints.importers.unet import fill_norm
from rtsep.errors import Failure
from rtsep.layers import Conv, GroupNorm, Lowpass
from rtsep.models import create
from rtsep.models.base import Separator
from rtsep.models.waveunet import segment_sizes

_DOWN, _UP = "downsampling_blocks.{}", "upsampling_blocks.{}"
_BEFORE, _AFTER = "pre_shortcut_convs.0", "post_shortcut_convs.0"

# Tensors by which the format is known, as regular expressions.
KEYS = (
    r"waveunets\.[^.]+\.downsampling_blocks\.0\.pre_shortcut_convs\.0\.filter\.weight",
    r"waveunets\.[^.]+\.output_conv\.weight",
)


def build(public: Tensors, settings: Settings, roles: dict) -> Separator:
    """The model; `Failure` for what does not fit."""
    networks = [name for (name,) in public.names(r"waveunets\.([^.]+)\.")]
    if len(networks) > 1 or settings.get("separate", bool, False):
        raise Failure(
            f"the checkpoint holds a network for each of {', '.join(networks)} (separate=True): "
            "one network for all is read"
        )
    root = f"waveunets.{networks[0] if networks else 'ALL'}."
    # At least one: where there is none, its tensor is the one that is missing.
    levels = len(public.numbers(rf"{root}downsampling_blocks\.(\d+)\.")) or 1
    if (deeper := f"{root}bottlenecks.1.filter.weight") in public:
        raise Failure(f"{deeper}: a depth above 1 does not run in the public code either")
    narrow, widths = f"{root}bottlenecks.0.filter", []
    for level in range(levels):
        block = root + _DOWN.format(level)
        if f"{block}.downconv.filter.weight" in public:
            raise Failure("res is not 'fixed': learnt resampling (res='learned') is not read")
        widths.append(public.sizes(f"{block}.{_BEFORE}.filter.weight", 3)[0])
    widths.append(public.sizes(f"{narrow}.weight", 3)[0])
    _, channels, down = public.sizes(f"{root}{_DOWN.format(0)}.{_BEFORE}.filter.weight", 3)
    *_, up = public.sizes(f"{root}{_UP.format(0)}.{_AFTER}.filter.weight", 3)
    *_, taps = public.sizes(f"{root}{_DOWN.format(0)}.downconv.filter", 3)
    outputs, *_ = public.sizes(f"{root}output_conv.weight", 3)
    norm = _norm(public, f"{root}bottlenecks.0.norm")
    instruments = settings.get("instruments", list, None)
    count = outputs // channels
    settings.agree(
        num_inputs=channels, num_outputs=channels, kernel_size=down, depth=1, separate=False
    )
    if (given := settings.get("num_channels", list, widths)) != widths:
        raise Failure(f"num_channels is {given} by the settings, {widths} by the tensors")
    rate, stride, target = settings.need_rate("sample_rate", strides=int, target_output_size=int)
    if stride < 1:
        raise Failure(f"strides is {stride}: it is at least 1")
    form = dict(
        widths=widths, down_kernel=down, up_kernel=up, stride=stride, doubled=True, taps=taps
    )
    window, given = segment_sizes(form, output=target)
    lost, hop = (window - given) // 2, given // 4
    blocks = dict(window=window, hop=hop, lookahead=lost + given // 8, crossfade=hop // 8)
    model = create(
        "waveunet",
        rate=rate,
        channels=channels,
        **form,
        direct=False,
        norm=norm,
        slope=0.01 if norm == "none" else 0.0,
        output="clip",
        form="valid",
        blocks=blocks | settings.get("blocks", dict, {}),
        **named(roles, count, instruments),
    )
    _fill(model, public, root, levels)
    return model


def _norm(public: Tensors, name: str) -> str:
    if f"{name}.running_mean" in public:
        return "batch"
    return "group" if f"{name}.weight" in public else "none"


def _fill(model: Separator, public: Tensors, root: str, levels: int) -> None:
    layers = [part for part in model.modules() if isinstance(part, Conv | Lowpass)]
    groups = iter([part for part in model.modules() if isinstance(part, GroupNorm)])
    for layer, name in zip(layers, _names(levels), strict=True):
        if isinstance(layer, Lowpass):
            weight = public.take(root + name, *layer.weight.shape)
            # A transposed convolution is a convolution with the filter read backwards.
            layer.weight.data = (
                weight.flip(-1) if name.endswith("upconv.filter") else weight.clone()
            )
            continue
        last = name == "output_conv"
        for part in ("weight", "bias"):
            key = f"{root}{name}.{part}" if last else f"{root}{name}.filter.{part}"
            tensor = getattr(layer, part)
            tensor.data = public.take(key, *tensor.shape).clone()
        if layer.norm is not None:
            fill_norm(layer.norm, public, f"{root}{name}.norm")
        elif not last and (group := next(groups, None)) is not None:
            for part in ("weight", "bias"):
                tensor = getattr(group, part)
                tensor.data = public.take(f"{root}{name}.norm.{part}", *tensor.shape).clone()


def _names(levels: int) -> Iterator[str]:
    """Filters and convolutions in the order of the signal, in which ours stand."""
    for block in map(_DOWN.format, range(levels)):
        yield from (f"{block}.{_BEFORE}", f"{block}.{_AFTER}", f"{block}.downconv.filter")
    yield "bottlenecks.0"
    for block in map(_UP.format, range(levels)):
        yield from (f"{block}.upconv.filter", f"{block}.{_BEFORE}", f"{block}.{_AFTER}")
    yield "output_conv"
