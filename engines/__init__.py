"""Engines: each runs any model's step, one file each, all held to `eager`.

Importing this package loads no engine's library, and no torch.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rtsep.engines.protocol import Engine, Progress, StreamSpec
from rtsep.errors import Failure, WrongCall

if TYPE_CHECKING:
    from rtsep.models.base import Separator

__all__ = ["Engine", "StreamSpec", "available", "build", "default_chunk"]

# Name to (libraries needed, how to install what is missing), in order of preference.
_ENGINES = {
    "onnxruntime": (("onnxruntime",), "pip install onnxruntime"),
    "native": (("llvmlite",), "pip install llvmlite"),
    "eager": (("torch",), "pip install torch"),
}
AUTO = "onnxruntime"


def build(
    model: str | Path | Separator,
    engine: str = "auto",
    *,
    chunk: int | None = None,
    batch: int = 1,
    precision: str = "float32",
    progress: Progress | None = None,
) -> Engine:
    """An engine for a model: a shipped one's name, a checkpoint's path, or a `Separator`.

    `chunk` is in samples at the model's rate, a multiple of its hop; None is the one nearest 4 ms.
    What an engine has to compile is taken from a cache where it was built before; `progress` hears
    of it where not. Raises `WrongCall` for what is not accepted, `Failure` where a library is
    missing.
    """
    from rtsep.engines.source import Source

    name = AUTO if engine == "auto" else engine
    if name not in _ENGINES:
        raise WrongCall(f"no engine {engine!r}; there is auto, {', '.join(_ENGINES)}")
    if missing := available()[name]:
        raise Failure(f"engine {name}: {missing}")
    source = Source(model)
    hop, rate = source.spec.hop, source.spec.rate
    chunk = default_chunk(hop, rate) if chunk is None else chunk
    if chunk < hop or chunk % hop:
        raise WrongCall(
            f"chunk {chunk}: {source.spec.name} takes multiples of its hop, "
            f"{hop}, {2 * hop}, {3 * hop}, … samples at {rate} Hz"
        )
    if batch < 1:
        raise WrongCall(f"batch {batch}: it is at least 1")
    module = import_module(f"rtsep.engines.{name}")
    if precision not in module.PRECISIONS:
        accepted = ", ".join(module.PRECISIONS)
        raise WrongCall(f"precision {precision!r}: engine {name} has {accepted}")
    return module.build(source, chunk, batch, precision, progress or (lambda text: None))


def available() -> dict[str, str | None]:
    """Each engine's name, and None where it can be used, else what is missing and how to get it."""
    reasons: dict[str, str | None] = {}
    for name, (libraries, install) in _ENGINES.items():
        missing = [library for library in libraries if find_spec(library) is None]
        reasons[name] = f"{', '.join(missing)} is not installed: {install}" if missing else None
    return reasons


def default_chunk(hop: int, rate: int) -> int:
    """The multiple of the hop that is nearest 4 ms, at least one hop; samples at `rate`."""
    return hop * max(1, round(0.004 * rate / hop))
