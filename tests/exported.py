"""A model in ONNX Runtime, step by step, against the whole signal at once."""

from __future__ import annotations

import numpy as np
import torch

from rtsep.engines import build
from rtsep.models.base import Separator


def check_exported(model: Separator, hops: int = 2, steps: int = 40) -> None:
    """In chunks of `hops` hops, in float32: the bound is that of the streaming contract."""
    chunk, random = hops * model.hop, np.random.default_rng(0)
    mixture = random.standard_normal((1, model.channels, steps * chunk)).astype(np.float32)
    engine = build(model, "onnxruntime", chunk=chunk)
    parts = [np.empty(engine.spec.stems_shape, np.float32) for _ in range(steps)]
    for step, stems in enumerate(parts):
        block = mixture[..., step * chunk : (step + 1) * chunk]
        engine.process(np.ascontiguousarray(block), stems)
    engine.close()
    stems, late = np.concatenate(parts, -1), model.latency
    whole = model.separate(torch.from_numpy(mixture)).numpy()[..., : stems.shape[-1] - late]
    assert not stems[..., :late].any()
    assert np.abs(stems[..., late:] - whole).max() <= 1e-5 * np.abs(whole).max()
