"""demucs's `Demucs` and `HTDemucs` (github.com/facebookresearch/demucs, MIT).

A package of the class, its arguments and its state, as all released files are, or a state dict.
They see a whole segment and run in blocks. Sizes come from the shapes; the arguments that the
tensors don't tell from the package, else they are the class's own defaults, `samplerate` included.
The hybrid is run by the public package itself, the extra `demucs`.

Beside the class's own arguments --config may hold `blocks`, the window, hop, lookahead and
crossfade in samples. Without it the window is the segment of training, or 4 s of a longer one; an
eighth of it is the hop, and the look-ahead.
"""

from __future__ import annotations

import re
from fractions import Fraction

from rtsep.checkpoints.importers.denoiser import pairs
from rtsep.checkpoints.importers.roles import named
from rtsep.checkpoints.importers.settings import Settings
from rtsep.checkpoints.importers.tensors import Tensors
from rtsep.errors import Failure
from rtsep.models import create
from rtsep.models.base import Separator

# Tensors by which the format is known, as regular expressions.
KEYS = (r"encoder\.0\.(0|conv)\.weight$", r"decoder\.0\.(3|4|conv_tr)\.weight$")

_LONGEST = 4  # seconds


def build(public: Tensors, settings: Settings, roles: dict) -> Separator:
    """The model; `Failure` for what does not fit."""
    if "encoder.0.conv.weight" in public:
        return _hybrid(public, settings, roles)
    depth = len(public.numbers(r"encoder\.(\d+)\."))
    hidden = [public.sizes(f"encoder.{i}.0.weight", 3)[0] for i in range(depth)]
    _, channels, kernel = public.sizes("encoder.0.0.weight", 3)
    down, up = (f"{side}.0.3.layers.0.0.weight" in public for side in ("encoder", "decoder"))
    (outputs,) = public.sizes(f"decoder.{depth - 1}.{3 + up}.bias", 1)
    stems = outputs // channels
    gated = public.sizes(f"encoder.0.{3 + down}.weight", 3)[0] == 2 * hidden[0]
    layers = len(public.numbers(r"lstm\.lstm\.weight_ih_l(\d+)$"))
    around = public.sizes("decoder.0.0.weight", 3)[2] // 2
    settings.agree(
        audio_channels=channels,
        channels=hidden[0],
        depth=depth,
        kernel_size=kernel,
        glu=gated,
        rewrite=True,
        context=around,
        lstm_layers=layers,
    )
    if settings.get("dconv_depth", int, 1) < 0:
        raise Failure("dconv_depth is below 0: branches without dilation are not known here")

    def inside(level: int) -> str:
        """Where the first of a level's branches is."""
        return (f"encoder.{level}" if down else f"decoder.{depth - 1 - level}") + ".3.layers"

    def first(*tensors: str) -> int:
        """The first level that has one of these."""
        found = (
            i for i in range(depth) if any(name.format(i, inside(i)) in public for name in tensors)
        )
        return next(found, depth)

    branches = len(public.numbers(re.escape(inside(0)) + r"\.(\d+)\."))
    narrow = public.sizes(f"{inside(0)}.0.0.weight", 3)[0] if branches else hidden[0]
    rate = settings.rate or settings.get("samplerate", int, 44100)
    model = create(
        "demucs-chunked",
        rate=rate,
        channels=channels,
        blocks=_blocks(settings, rate, 40),
        hidden=hidden,
        kernel=kernel,
        stride=settings.get("stride", int, 4),
        gated=gated,
        around=around,
        activation="gelu" if settings.get("gelu", bool, True) else "relu",
        layers=layers,
        norm_from=first("encoder.{}.1.weight"),
        groups=settings.get("norm_groups", int, 4),
        branches=down + 2 * up,
        branch_layers=max(branches, 1),
        compression=settings.get("dconv_comp", float, hidden[0] / narrow),
        recurrent_from=first("{1}.0.3.linear.weight"),
        attentive_from=first("{1}.0.3.content.weight", "{1}.0.4.content.weight"),
        normalise=settings.get("normalize", bool, True),
        resample=settings.get("resample", bool, True),
        **named(roles, stems, settings.get("sources", list, None)),
    )
    keys = _keys(model.params)
    for parameter, key in zip(model.parameters(), keys, strict=True):
        parameter.data = public.take(key, *parameter.shape).clone()
    return model


def _hybrid(public: Tensors, settings: Settings, roles: dict) -> Separator:
    rate = settings.rate or settings.get("samplerate", int, 44100)
    given = settings.given
    sources = settings.get("sources", list, None)
    if sources is None:
        raise Failure(
            "the checkpoint does not tell sources: name them in a JSON file with --config"
        )
    try:
        segment = Fraction(given.get("segment", 10)).limit_denominator(10_000)
    except (TypeError, ValueError, ArithmeticError):
        raise Failure(f"segment is {given['segment']!r}: it must be seconds") from None
    ours = ("sources", "audio_channels", "samplerate", "sample_rate", "blocks", "segment")
    model = create(
        "demucs-chunked",
        rate=rate,
        channels=settings.get("audio_channels", int, 2),
        blocks=_blocks(settings, rate, segment, whole=True),
        hybrid={k: v for k, v in given.items() if k not in ours} | {"segment": str(segment)},
        **named(roles, len(sources), sources),
    )
    inner = model.network.network.public
    state = inner.state_dict()
    inner.load_state_dict({key: public.take(key, *value.shape) for key, value in state.items()})
    return model


def _blocks(
    settings: Settings, rate: int, segment: Fraction | int, whole: bool = False
) -> dict[str, int]:
    """As the settings say, else by the segment, in seconds; `whole` where it can't be shorter."""
    if blocks := settings.get("blocks", dict, {}):
        return blocks
    length = settings.get("segment", float, segment) if not whole else segment
    window = int((length if whole else min(length, _LONGEST)) * rate)
    hop = window // 8
    return {"window": window, "hop": hop, "lookahead": hop, "crossfade": hop // 4}


def _keys(p: dict) -> list[str]:
    """The public names in the order of our parameters: down, through the middle, and up."""
    depth, down, up = len(p["hidden"]), p["branches"] & 1, p["branches"] >> 1
    before, after = [], []
    for level in range(depth):
        normed = level >= p["norm_from"]
        here, back = f"encoder.{level}", f"decoder.{depth - 1 - level}"
        before += pairs(f"{here}.0", *[f"{here}.1"] * normed)
        before += _branch_keys(f"{here}.3", level, p) if down else []
        before += pairs(f"{here}.{3 + down}", *[f"{here}.{4 + down}"] * normed)
        ending = pairs(f"{back}.0", *[f"{back}.1"] * normed)
        ending += _branch_keys(f"{back}.3", level, p) if up else []
        ending += pairs(f"{back}.{3 + up}", *[f"{back}.{4 + up}"] * (normed and level > 0))
        after = ending + after
    middle = _recurrent_keys("lstm", p["layers"]) if p["layers"] else []
    return [*before, *middle, *after]


def _branch_keys(place: str, level: int, p: dict) -> list[str]:
    recurrent, attentive = level >= p["recurrent_from"], level >= p["attentive_from"]
    keys = []
    for number in range(p["branch_layers"]):
        here = f"{place}.layers.{number}"
        keys += pairs(f"{here}.0", f"{here}.1")
        if recurrent:
            keys += _recurrent_keys(f"{here}.3", 2)
        if attentive:
            attention = f"{here}.{3 + recurrent}"
            parts = ("content", "query", "key", "query_decay", "proj")
            keys += pairs(*(f"{attention}.{part}" for part in parts))
        at = 3 + recurrent + attentive
        keys += [*pairs(f"{here}.{at}", f"{here}.{at + 1}"), f"{here}.{at + 3}.scale"]
    return keys


def _recurrent_keys(place: str, layers: int) -> list[str]:
    lstm = [
        f"{place}.lstm.{kind}_{part}_l{k}{way}"
        for way in ("", "_reverse")
        for k in range(layers)
        for kind in ("weight", "bias")
        for part in ("ih", "hh")
    ]
    return [*lstm, *pairs(f"{place}.linear")]
