"""The step compiled by PyTorch's Inductor, ahead of time: a second start compiles nothing.

The package (AOTInductor) holds machine code with the weights folded in, made by the C++ compiler
at hand for one thread. Nothing is compiled in the process that runs it, so `torch.compile`, which
compiles in every process, is not used. `RTSEP_INDUCTOR_MODE=default` leaves out the search for
the fastest of many forms of each product (`max-autotune`), which takes a minute.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rtsep.engines import cache, state
from rtsep.engines.base import Base
from rtsep.engines.device import tensors
from rtsep.engines.protocol import Progress, StreamSpec
from rtsep.engines.source import Source
from rtsep.engines.state import Leaf
from rtsep.errors import Failure, WrongCall
from rtsep.streaming import select_rows

PRECISIONS = ("float32",)
MODES = ("max-autotune", "default")


def build(source: Source, chunk: int, batch: int, precision: str, progress: Progress) -> Inductor:
    mode = os.environ.get("RTSEP_INDUCTOR_MODE", MODES[0])
    if mode not in MODES:
        raise WrongCall(f"RTSEP_INDUCTOR_MODE={mode}: it is {' or '.join(MODES)}")
    spec = source.stream("inductor", chunk, batch, precision)
    key = cache.key_of(spec, ("torch",), mode=mode)

    def load(parts: cache.Parts) -> Inductor:
        leaves, _ = state.read(parts["state.json"])
        try:
            return Inductor(spec, _loaded(parts["step.pt2"]), leaves)
        except Exception as error:  # the loader's own, of many kinds
            raise cache.Refused(_first_line(error)) from None

    return cache.loaded(key, lambda: _compile(source, spec, mode, progress), load, progress)


class Inductor(Base):
    """Each step gives new tensors for stems and state; rows that pause keep their old state."""

    def __init__(
        self, spec: StreamSpec, step: Callable[..., Sequence[Tensor]], leaves: Sequence[Leaf]
    ) -> None:
        super().__init__(spec)
        self._step: Callable[..., Sequence[Tensor]] | None = step
        self._fresh = tensors(leaves)
        self._state = self._fresh

    def close(self) -> None:
        super().close()
        self._step = None

    def _advance(self, mixture: np.ndarray, stems: np.ndarray, paused: Sequence[int]) -> None:
        with torch.inference_mode():
            sound, *following = self._step(torch.from_numpy(mixture), tuple(self._state))
            if paused:
                following = select_rows(torch.tensor(self._chosen(paused)), self._state, following)
            self._state = following
            np.copyto(stems, sound.numpy(), casting="same_kind")

    def _restart(self, rows: Sequence[int]) -> None:
        self._state = select_rows(torch.tensor(self._chosen(rows)), self._fresh, self._state)


def _compile(source: Source, spec: StreamSpec, mode: str, progress: Progress) -> cache.Parts:
    """The parts of a cache entry: the package, and the state it starts from.

    Raises `Failure` where it can't be compiled, or does not compute what the network does.
    """
    from rtsep.engines import accuracy
    from rtsep.engines.export import prepared

    progress(f"loading {spec.model}")
    network = source.network()
    step, (sound, first), _, leaves = prepared(network, spec.chunk, spec.batch)
    # What is compiled takes state laid out as it was here: each leaf by itself, without gaps.
    example = (sound, tuple(leaf.clone(memory_format=torch.contiguous_format) for leaf in first))
    progress(f"compiling {spec.model} with inductor, {mode}, for chunks of {spec.chunk} samples")
    options = {"cpp.threads": 1, "freezing": True, "max_autotune": mode == "max-autotune"}
    logs = logging.getLogger("torch._inductor")
    before = logs.level
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = Path(folder) / "step.pt2"
        logs.setLevel(logging.ERROR)
        try:
            program = torch.export.export(_Contiguous(step), example, strict=False)
            torch._inductor.aoti_compile_and_package(
                program, package_path=str(path), inductor_configs=options
            )
        except Exception as error:  # the compiler's own, of many kinds
            reason = _first_line(error)
            raise Failure(f"engine inductor can't compile {spec.model}: {reason}") from None
        finally:
            logs.setLevel(before)
        package = path.read_bytes()
    accuracy.check(Inductor(spec, _loaded(package), leaves), network, progress)
    return {"step.pt2": package, "state.json": state.written(leaves)}


class _Contiguous(nn.Module):
    """Gives what a step gives as tensors without gaps: the next step takes no others."""

    def __init__(self, step: nn.Module) -> None:
        super().__init__()
        self.step = step

    def forward(self, mixture: Tensor, leaves: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(tensor.contiguous() for tensor in self.step(mixture, leaves))


def _loaded(package: bytes) -> Callable[..., Sequence[Tensor]]:
    """It is unpacked when it is loaded; the file is not needed any more then."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "step.pt2"
        path.write_bytes(package)
        return torch._inductor.aoti_load_package(str(path), run_single_threaded=True)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
