"""Small models, sounds and runs that the tests of engines share."""

from __future__ import annotations

import numpy as np
import torch

import rtsep
from rtsep.engines import Engine

# What the model is made of, beyond SMALL. "masked" pads as asteroid does, so that every layer has
# a countdown; "plain" has one at the output alone.
MODELS = {
    "plain": dict(),
    "masked": dict(padding=0, norm="cumulative", mask="softmax", stems=("a", "b", "c")),
    "stereo": dict(channels=2, padding=0, skip=0, activation="relu", mask="relu"),
    "context": dict(context=256, adaptation=0.5, consistency="remainder", head=False, taps=2),
}
SMALL = dict(filters=24, kernel=128, bottleneck=12, hidden=16, skip=12, blocks=3, repeats=2)


def make(name: str = "plain", **params):
    torch.manual_seed(3)
    return rtsep.create("convtasnet", **(SMALL | MODELS[name] | params)).eval()


def sound(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Noise in bursts between digital silence, one of them at the start."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape) * 0.2
    for start in range(0, shape[-1], 8000):
        x[..., start : start + 2000] = 0
    return x.astype(np.float32)


def run(engine: Engine, mixture: np.ndarray, active=None) -> np.ndarray:
    """(batch, channels, samples) to (batch, stems, channels, samples), as many whole chunks fit.

    `active` gives the active rows for a step's index.
    """
    chunk = engine.spec.chunk
    outputs = []
    for index in range(mixture.shape[-1] // chunk):
        stems = np.full(engine.spec.stems_shape, np.nan, np.float32)
        block = np.ascontiguousarray(mixture[..., index * chunk : (index + 1) * chunk])
        engine.process(block, stems, None if active is None else active(index))
        outputs.append(stems)
    return np.concatenate(outputs, -1)
