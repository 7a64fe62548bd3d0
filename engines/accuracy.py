"""How far an engine's stems are from the reference's, and whether that is near enough."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rtsep.engines.protocol import Engine, Progress
from rtsep.errors import Failure

if TYPE_CHECKING:
    from rtsep.models.base import Separator

# What a build must reach, in dB: rounding alone stays far above, a wrong instruction far below.
# Reduced precisions may cost what they cost, which `rtsep tune` weighs.
_LEAST = {"float32": 60.0}
_LEAST_REDUCED = 10.0
_STEPS = 64


@dataclass(frozen=True)
class Difference:
    """`ratio`: signal to difference, dB. `error`: the largest difference over the largest value."""

    ratio: float
    error: float

    def __str__(self) -> str:
        return f"{self.ratio:.1f} dB, error {self.error:.1e}"


def difference(reference: np.ndarray, other: np.ndarray) -> Difference:
    """Of two arrays of stems; no signal at all against anything is 0 dB, unless both are silent."""
    if not np.isfinite(other).all():
        return Difference(-math.inf, math.inf)
    reference, other = reference.astype(np.float64), other.astype(np.float64)
    apart = reference - other
    power, noise = float((reference**2).sum()), float((apart**2).sum())
    if noise == 0:
        return Difference(math.inf, 0.0)
    if power == 0:
        return Difference(-math.inf, math.inf)
    return Difference(
        10 * math.log10(power / noise), float(np.abs(apart).max() / np.abs(reference).max())
    )


def stream(engine: Engine, mixture: np.ndarray) -> np.ndarray:
    """(batch, channels, samples) through an engine from its start: as many whole chunks as fit."""
    chunk, parts = engine.spec.chunk, []
    engine.reset()
    for start in range(0, mixture.shape[-1] - chunk + 1, chunk):
        stems = np.empty(engine.spec.stems_shape, np.float32)
        engine.process(np.ascontiguousarray(mixture[..., start : start + chunk]), stems)
        parts.append(stems)
    engine.reset()
    return np.concatenate(parts, -1)


def check(engine: Engine, network: Separator, progress: Progress) -> Difference:
    """A built engine against the reference, on a fraction of a second of bursts.

    Raises `Failure` where it is not near enough to be what the network computes.
    """
    import torch

    from rtsep.engines.eager import Eager

    progress("comparing it with the reference")
    spec = engine.spec
    steps = max(8, min(_STEPS, 8 + -(-spec.latency // spec.chunk) + spec.rate // (4 * spec.chunk)))
    rng = np.random.default_rng(0)
    mixture = rng.standard_normal((*spec.mixture_shape[:2], steps * spec.chunk)) * 0.1
    mixture[..., : spec.chunk] = 0
    mixture = mixture.astype(np.float32)
    threads = torch.get_num_threads()
    # Steps are short: threads that wait for each other cost more than they bring, above all on a
    # busy machine.
    torch.set_num_threads(1)
    try:
        expected = stream(Eager(network, spec, "float32"), mixture)
    finally:
        torch.set_num_threads(threads)
    found = difference(expected, stream(engine, mixture))
    least = _LEAST.get(spec.precision, _LEAST_REDUCED)
    if found.ratio < least:
        raise Failure(
            f"engine {spec.engine} differs from eager on {spec.model} in {spec.precision}: "
            f"{found}; at least {least:g} dB are wanted"
        )
    return found
