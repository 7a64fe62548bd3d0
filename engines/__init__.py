"""Engines: each runs any model's step, one file each, all held to `eager`.

Importing this package loads no engine's library, and no torch.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from rtsep.engines import requirements
from rtsep.engines.protocol import Engine, Progress, StreamSpec, Unexportable
from rtsep.errors import Failure, WrongCall

if TYPE_CHECKING:
    from rtsep.engines.source import Source
    from rtsep.models.base import Separator
    from rtsep.spec import ModelSpec

__all__ = ["Engine", "StreamSpec", "available", "build", "default_chunk", "precisions", "spec_of"]

# Name to (libraries needed, how to install what is missing), in order of preference.
_ENGINES = {
    "native": (("llvmlite",), "pip install llvmlite"),
    "onnxruntime": (("onnxruntime",), "pip install onnxruntime"),
    "openvino": (("openvino",), "pip install 'rtsep[openvino]'"),
    "inductor": (("torch",), "pip install torch"),
    "onnxruntime-openvino": (("onnxruntime",), "pip install onnxruntime"),
    "tensorrt": (("torch",), "pip install torch"),
    "onnxruntime-tensorrt": (("torch", "onnxruntime"), "pip install torch onnxruntime-gpu"),
    "onnxruntime-cuda": (("torch", "onnxruntime"), "pip install torch onnxruntime-gpu"),
    "cudagraph": (("torch",), "pip install torch"),
    "eager": (("torch",), "pip install torch"),
}
# What an engine needs of the machine besides: None where it is there, else what lacks.
_MACHINE = {
    "inductor": requirements.compiler,
    "onnxruntime-openvino": requirements.openvino_provider,
    "tensorrt": requirements.tensorrt,
    "onnxruntime-tensorrt": requirements.tensorrt_provider,
    "onnxruntime-cuda": requirements.cuda_provider,
    "cudagraph": requirements.gpu,
}
# Compile for a minute or more: they run where they are asked for by name, or all are.
SLOW = ("inductor",)
# What the step is exported with, where an engine runs an exported one.
EXPORT = ("torch", "onnx", "onnxscript", "onnx-ir")
# What "auto" tries where nothing was tuned, until one can be built.
AUTOMATIC = ("native", "onnxruntime")
AUTO = AUTOMATIC[0]


def build(
    model: str | Path | Separator,
    engine: str = "auto",
    *,
    chunk: int | None = None,
    batch: int = 1,
    precision: str | None = None,
    progress: Progress | None = None,
) -> Engine:
    """An engine for a model: a shipped one's name, a checkpoint's or package's path, a `Separator`.

    "auto" is what `rtsep tune` found best here, what a package holds, or the first of `AUTOMATIC`
    that can be built; the engine's `spec.reason` says which, and `spec.queue_ms` what queue was
    tuned with it. `chunk` is in samples at the model's rate, a multiple of its hop; None is the
    tuned one, else the one nearest 4 ms. `precision` None is the tuned one, else float32. What an
    engine has to compile is taken from a cache where it was built before; `progress` hears of it
    where not. Raises `WrongCall` for what is not accepted, `Failure` where a library is missing.
    """
    from rtsep.engines.source import Source

    source, say = Source(model), progress or (lambda text: None)
    if engine != "auto":
        return _build(source, engine, chunk, batch, precision or "float32", say)
    return _automatic(source, chunk, batch, precision, say)


def _automatic(
    source: Source, chunk: int | None, batch: int, precision: str | None, say: Progress
) -> Engine:
    from rtsep.engines import tuned

    choice, ignored = tuned.find(source.spec.digest, chunk)
    if ignored:
        say(ignored)
    if choice is not None and precision in (None, choice.precision):
        wanted = [(choice.engine, choice.chunk, choice.precision, "tuned on this machine")]
    else:
        choice, wanted = None, []
    for row in source.packaged:
        fits = batch == row["batch"] and chunk in (None, row["chunk"])
        if fits and precision in (None, row["precision"]):
            wanted.append((row["engine"], row["chunk"], row["precision"], "of the package"))
    wanted += [
        (name, chunk, precision or "float32", "" if i else "the default")
        for i, name in enumerate(AUTOMATIC)
    ]
    failed = ""
    for name, samples, kind, reason in wanted:
        try:
            made = _build(source, name, samples, batch, kind, say)
        except (WrongCall, Unexportable):
            raise
        except Failure as failure:
            if (name, samples, kind, reason) == wanted[-1]:
                raise
            say(str(failure))
            failed = f"in place of {name}: {failure}"
            continue
        queue = choice.queue_ms if choice is not None and not failed else None
        made.spec = replace(made.spec, reason=failed or reason, queue_ms=queue)
        return made
    raise AssertionError("the last failure is raised")


def _build(
    source: Source, name: str, chunk: int | None, batch: int, precision: str, progress: Progress
) -> Engine:
    if name not in _ENGINES:
        raise WrongCall(f"no engine {name!r}; there is auto, {', '.join(_ENGINES)}")
    if missing := _lacking(name):
        raise Failure(f"engine {name}: {missing}")
    hop, rate = source.spec.hop, source.spec.rate
    chunk = default_chunk(hop, rate) if chunk is None else chunk
    if chunk < hop or chunk % hop:
        raise WrongCall(
            f"chunk {chunk}: {source.spec.name} takes multiples of its hop, "
            f"{hop}, {2 * hop}, {3 * hop}, … samples at {rate} Hz"
        )
    if batch < 1:
        raise WrongCall(f"batch {batch}: it is at least 1")
    module = _module(name)
    if precision not in module.PRECISIONS:
        accepted = ", ".join(module.PRECISIONS)
        raise WrongCall(f"precision {precision!r}: engine {name} has {accepted}")
    return module.build(source, chunk, batch, precision, progress)


def available() -> dict[str, str | None]:
    """Each engine's name, and None where it can be used, else what is missing and how to get it."""
    return {name: _lacking(name) for name in _ENGINES}


def _lacking(name: str) -> str | None:
    needed, install = _ENGINES[name]
    missing = [library for library in needed if find_spec(library) is None]
    if missing:
        return f"{', '.join(missing)} is not installed: {install}"
    return _MACHINE[name]() if name in _MACHINE else None


def _module(name: str) -> ModuleType:
    return import_module(f"rtsep.engines.{name.replace('-', '_')}")


def libraries(engine: str) -> tuple[str, ...]:
    """What an engine needs, as it is imported. Raises `KeyError` for an unknown engine."""
    return _ENGINES[engine][0]


def spec_of(model: str | Path | Separator) -> ModelSpec:
    """A model's own spec. Raises what `build` raises for a model."""
    from rtsep.engines.source import Source

    return Source(model).spec


def precisions(engine: str) -> tuple[str, ...]:
    """What an available engine can compute in, its own first."""
    return _module(engine).PRECISIONS


def default_chunk(hop: int, rate: int) -> int:
    """The multiple of the hop that is nearest 4 ms, at least one hop; samples at `rate`."""
    return hop * max(1, round(0.004 * rate / hop))
