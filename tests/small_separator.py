"""A small seeded model and sounds, for the tests that go from file to file."""

from __future__ import annotations

import numpy as np
import soundfile
import torch

import rtsep
from rtsep.checkpoints import save


def save_model(path, **params):
    """A checkpoint of random weights at `path`; returns the model."""
    torch.manual_seed(5)
    sizes = dict(filters=24, kernel=128, bottleneck=12, hidden=16, skip=12, blocks=2, repeats=1)
    model = rtsep.create("convtasnet", **(sizes | {"consistency": "remainder"} | params)).eval()
    save(model, path)
    return model


def sound(channels: int, samples: int, rate: int) -> np.ndarray:
    """Chirps and noise in bursts, different in each channel, float32."""
    rng = np.random.default_rng(channels)
    t = np.arange(samples) / rate
    chirp = np.sin(2 * np.pi * (200 * t + 900 * t * t) + np.arange(channels)[:, None])
    noise = rng.standard_normal((channels, samples)) * (np.sin(7 * t) > 0)
    return (0.3 * chirp + 0.1 * noise).astype(np.float32)


def write(path, mixture: np.ndarray, rate: int, **options):
    soundfile.write(path, mixture.T, rate, **({"subtype": "FLOAT"} | options))
    return path
