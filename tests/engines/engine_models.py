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
    "fourier": dict(
        basis="fourier",
        filters=None,
        kernel=256,
        stride=64,
        synthesis=128,
        adaptation=0.5,
        consistency="remainder",
        head=False,
        taps=2,
    ),
}
# Small ones of every architecture: recurrences, convolutions over two axes, transforms, windows.
_WINDOWS = dict(rate=8000, window=32, hop=8, synthesis=16)
_BLOCKS = dict(window=64, hop=16, lookahead=8, crossfade=4)
ARCHITECTURES = {
    "convtasnet": dict(
        filters=40, kernel=16, bottleneck=32, hidden=40, skip=32, blocks=2, repeats=1, padding=0
    ),
    "maskinference": dict(_WINDOWS, hidden=32),
    "deepclustering": dict(_WINDOWS, hidden=5, embedding=4),
    "chimera": dict(_WINDOWS, hidden=5, embedding=4),
    "openunmix": dict(_WINDOWS, hidden=32),
    "hstasnet": dict(_WINDOWS, basis=12, hidden=32),
    "unet": dict(_WINDOWS, layers=2, filters=3),
    "waveunet": dict(widths=(3, 4, 5), down_kernel=5, up_kernel=3),
    "demucs": dict(hidden=(5, 7), kernel=(16, 4), stride=(4, 2), synthesis=(12, 2)),
    "demucs-chunked": dict(hidden=(4, 8), blocks=_BLOCKS, norm_from=2),
}
# What an engine must reach against `eager` in each precision: signal to difference, in dB.
BOUNDS = {"float32": 100.0, "float16": 45.0, "bfloat16": 35.0, "int8": 20.0}
SMALL = dict(filters=24, kernel=128, bottleneck=12, hidden=16, skip=12, blocks=3, repeats=2)


def make(name: str = "plain", **params):
    torch.manual_seed(3)
    return rtsep.create("convtasnet", **(SMALL | MODELS[name] | params)).eval()


def tiny(arch: str):
    torch.manual_seed(4)
    return rtsep.create(arch, **ARCHITECTURES[arch]).eval()


def ratio(expected: np.ndarray, found: np.ndarray) -> float:
    """Signal to difference, in dB."""
    difference = (expected - found).astype(np.float64)
    return float(10 * np.log10((expected.astype(np.float64) ** 2).sum() / (difference**2).sum()))


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


def check_rows_stay_alone(build) -> None:
    """Of what `build(model, chunk=..., batch=...)` gives: rows reset and pause alone."""
    model = make("masked")
    chunk, steps = 192, 60
    mixture = sound((3, 1, chunk * steps), seed=5)
    built = build(model, chunk=chunk, batch=3)
    undisturbed = run(built, mixture)

    def cut(first, last):
        return mixture[..., first * chunk : last * chunk]

    # Row 1 starts anew at step 17, row 2 pauses from step 20 to 33; row 0 must not notice.
    built.reset()
    before = run(built, cut(0, 17))
    built.reset([1])
    between = run(built, cut(17, 20))
    paused = run(built, cut(20, 33), active=lambda index: [True, True, False])
    after = run(built, cut(33, 60))
    disturbed = np.concatenate([before, between, paused, after], -1)
    assert np.array_equal(disturbed[0], undisturbed[0])
    assert not paused[2].any()

    built.reset()
    anew = run(built, cut(17, 60))
    assert np.array_equal(disturbed[1][..., 17 * chunk :], anew[1])

    built.reset()
    spliced = run(built, np.concatenate([cut(0, 20), cut(33, 60)], -1))
    assert np.array_equal(disturbed[2][..., 33 * chunk :], spliced[2][..., 20 * chunk :])
