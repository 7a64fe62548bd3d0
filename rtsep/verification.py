"""Does a model, in every engine, stream what it gives offline, and as late as it says?"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rtsep.checkpoints import load
from rtsep.engines import Engine, build, default_chunk
from rtsep.models.base import Separator
from rtsep.naive import twin

BOUNDS = {"float64": 1e-10, "float32": 1e-5}
_HOPS, _SECONDS = 1000, 2.0
_PROBE = 512
_SHIFTS = 4096  # compared at once: bounds the memory


@dataclass(frozen=True)
class Check:
    """An engine's stream against the offline result of the same type, the worst stem's difference.

    `error` is infinite where the stream was not finite.
    """

    engine: str
    dtype: str
    error: float
    bound: float

    @property
    def ok(self) -> bool:
        return self.error <= self.bound


@dataclass(frozen=True)
class Verdict:
    """All checks, and the latency in samples: derived by the model, and measured.

    `measured` is the shift at which the stream equals the naive twin, which knows nothing of
    streams; None where it does at no shift.
    """

    checks: tuple[Check, ...]
    declared: int
    measured: int | None

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks) and self.measured == self.declared


def verify(
    model: str | Path | Separator,
    engines: Sequence[str] = ("eager", "onnxruntime"),
    *,
    seed: int = 0,
) -> Verdict:
    """Runs every engine on the same noise, in the usual chunks and in chunks one hop longer.

    Eager is checked in float64 and float32 and at random splits too, any other in float32.
    """
    network = load(model) if isinstance(model, str | Path) else copy.deepcopy(model).eval()
    random = torch.Generator().manual_seed(seed)
    mixture = _sound(_length(network), network.rate, network.channels, random)

    checks = []
    with torch.no_grad():
        for dtype in BOUNDS:
            network, mixture = network.to(getattr(torch, dtype)), mixture.to(getattr(torch, dtype))
            offline = network(mixture)
            if dtype == "float64":
                stream, _ = network.step(mixture, network.initial(1)[0])
                measured = _latency(stream[0], twin(network)(mixture)[0])
            for engine in engines:
                if engine != "eager" and dtype == "float64":
                    continue
                streams = [
                    _through_engine(build(model, engine, chunk=chunk, precision=dtype), mixture)
                    for chunk in _chunks(network)
                ]
                if engine == "eager":
                    streams.append(_at_random_splits(network, mixture, random))
                error = max(_error(y[:, network.latency :], offline) for y in streams)
                checks.append(Check(engine, dtype, error, BOUNDS[dtype]))
    return Verdict(tuple(checks), network.latency, measured)


def _length(model: Separator) -> int:
    """Samples: 1000 hops or 2 s, whichever is less, but enough to find the latency in."""
    hops = min(_HOPS, math.ceil(_SECONDS * model.rate / model.hop))
    return model.hop * max(hops, 2 * math.ceil((model.latency + _PROBE) / model.hop) + 2)


def _sound(samples: int, rate: int, channels: int, random: torch.Generator) -> Tensor:
    """(1, samples, channels) float64: noise that swells and a gliding buzz, for any stem a part."""
    time = torch.arange(samples, dtype=torch.float64)[None, :, None] / rate
    noise = torch.randn(1, samples, channels, generator=random, dtype=torch.float64)
    turns = 2 * torch.pi * (150 * time + 20 * torch.sin(4 * time))
    buzz = sum(torch.cos(k * turns) / k for k in range(1, 20)) * torch.sin(9 * time).clamp(0)
    return 0.1 * buzz + 0.05 * (0.05 + torch.sin(5 * time) ** 2) * noise


def _chunks(model: Separator) -> tuple[int, int]:
    usual = default_chunk(model.hop, model.rate)
    return usual, usual + model.hop


def _through_engine(engine: Engine, x: Tensor) -> Tensor:
    """(1, samples, stems, channels): as many whole chunks as the mixture has."""
    chunk, parts = engine.spec.chunk, []
    try:
        for start in range(0, x.shape[1] - chunk + 1, chunk):
            mixture = np.ascontiguousarray(x[:, start : start + chunk].transpose(1, 2).numpy())
            stems = np.empty(engine.spec.stems_shape, mixture.dtype)
            engine.process(mixture, stems)
            parts.append(torch.from_numpy(stems).permute(0, 3, 1, 2))
    finally:
        engine.close()
    return torch.cat(parts, 1)


def _at_random_splits(model: Separator, x: Tensor, random: torch.Generator) -> Tensor:
    state, parts = model.initial(1)[0], []
    for start, stop in _splits(x.shape[1] // model.hop, random):
        y, state = model.step(x[:, start * model.hop : stop * model.hop], state)
        parts.append(y)
    return torch.cat(parts, 1)


def _splits(hops: int, random: torch.Generator) -> Iterator[tuple[int, int]]:
    start = 0
    while start < hops:
        stop = min(hops, start + int(torch.randint(1, 9, (), generator=random)))
        yield start, stop
        start = stop


def _error(found: Tensor, expected: Tensor) -> float:
    """Over what both have, (1, samples, stems, channels), each stem relative to its peak.

    A stem 60 dB below the loudest, or more, counts as 60 dB below it.
    """
    n = min(found.shape[1], expected.shape[1])
    found, expected = found[:, :n], expected[:, :n]
    if not torch.isfinite(found).all():
        return float("inf")
    peaks = expected.abs().amax((0, 1, 3))
    floor = max(1e-3 * float(peaks.max()), 1e-30)
    return float(((found - expected).abs().amax((0, 1, 3)) / peaks.clamp(min=floor)).max())


def _latency(stream: Tensor, public: Tensor) -> int | None:
    """The shift at which the stream (samples, stems, channels) equals the public form."""
    middle = public.shape[0] // 2
    probe = public[middle : middle + _PROBE].flatten(1).T
    windows = stream[middle:].flatten(1).unfold(0, probe.shape[1], 1)
    errors = [(part - probe).abs().amax((1, 2)) for part in windows.split(_SHIFTS)]
    shift = int(torch.cat(errors).argmin())
    n = public.shape[0] - shift
    off = _error(stream[None, shift:], public[None, :n])
    # A twin in float64 rounds otherwise than the model, whose windows were stored in float32.
    return shift if off <= 1e-6 and probe.any() else None
