"""`denoiser`'s causal Demucs (github.com/facebookresearch/denoiser; the weights CC BY-NC 4.0).

A plain state dict, or a package of the class, its arguments and its state. Channels, kernels,
gates and the LSTM's layers come from the shapes; `stride`, `resample`, `normalize`, `floor` and
`sample_rate` don't: where nothing says else they are the class's own defaults, as in all causal
weights of the authors.

The public form divides by the deviation of the whole signal, ours by the level of late. Where one
stem more is named than the checkpoint has, that one is what the others leave of the mixture.
"""

from __future__ import annotations

from rtsep.checkpoints.importers.causality import refuse_backwards
from rtsep.checkpoints.importers.roles import named
from rtsep.checkpoints.importers.settings import Settings
from rtsep.checkpoints.importers.tensors import Tensors
from rtsep.errors import Failure
from rtsep.models import create
from rtsep.models.base import Separator

# Tensors by which the format is known, as regular expressions.
KEYS = (r"encoder\.0\.2\.weight$", r"decoder\.0\.2\.weight$", r"lstm\.lstm\.weight_ih_l0$")

# Seconds: about the length of the sounds whose deviation was taken in training.
_ADAPTATION = 10.0


def build(public: Tensors, settings: Settings, roles: dict) -> Separator:
    """The model; `Failure` for what does not fit or is not causal."""
    refuse_backwards(public)
    depth = len(public.numbers(r"encoder\.(\d+)\."))
    hidden = [public.sizes(f"encoder.{i}.0.weight", 3)[0] for i in range(depth)]
    _, channels, kernel = public.sizes("encoder.0.0.weight", 3)
    rows, _, _ = public.sizes("encoder.0.2.weight", 3)
    (outputs,) = public.sizes(f"decoder.{depth - 1}.2.bias", 1)
    layers = len(public.numbers(r"lstm\.lstm\.weight_ih_l(\d+)$"))
    gated = rows == 2 * hidden[0]
    if outputs % channels:
        raise Failure(f"{outputs} channels out of {channels} make no whole stems")
    settings.agree(
        chin=channels,
        chout=outputs,
        hidden=hidden[0],
        depth=depth,
        kernel_size=kernel,
        glu=gated,
        causal=True,
    )
    estimated = outputs // channels
    spare = len(roles["stems"] or ()) == estimated + 1
    normalize = settings.get("normalize", bool, True)
    model = create(
        "demucs",
        rate=settings.rate or settings.get("sample_rate", int, 16000),
        channels=channels,
        hidden=hidden,
        kernel=kernel,
        stride=settings.get("stride", int, 4),
        synthesis=None,
        resample=settings.get("resample", int, 4),
        layers=layers,
        gated=gated,
        adaptation=_ADAPTATION if normalize else 0.0,
        floor=settings.get("floor", float, 1e-3),
        consistency="remainder" if spare else "none",
        **named(roles, estimated + spare),
    )
    for parameter, key in zip(model.parameters(), _keys(depth, layers), strict=True):
        parameter.data = public.take(key, *parameter.shape).clone()
    if normalize:
        model.remarks = (
            f"divides by the level of the last {_ADAPTATION:g} s, "
            "where the public form divides by the deviation of the whole signal",
        )
    return model


def _keys(depth: int, layers: int) -> list[str]:
    """The public names in the order of our parameters: down, through the LSTM, and up."""
    down = [f"encoder.{i}.{part}" for i in range(depth) for part in (0, 2)]
    up = [f"decoder.{i}.{part}" for i in range(depth) for part in (0, 2)]
    lstm = [
        f"lstm.lstm.{kind}_{part}_l{k}"
        for k in range(layers)
        for kind in ("weight", "bias")
        for part in ("ih", "hh")
    ]
    return [*pairs(*down), *lstm, *pairs(*up)]


def pairs(*layers: str) -> list[str]:
    """The names of their weights and biases."""
    return [f"{layer}.{part}" for layer in layers for part in ("weight", "bias")]
