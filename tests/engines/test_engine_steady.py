"""A step costs the same at the ten-thousandth time: no new buffers, no leak, no denormals."""

from __future__ import annotations

import gc
import platform
import sys
import threading
import tracemalloc

import numpy as np
import pytest
from engine_models import make, sound

from rtsep import engines
from rtsep.engines.denormals import Flushing

STEPS = 10_000


def test_ten_thousand_steps_keep_buffers_and_memory():
    built = engines.build(make(blocks=1, repeats=1), "onnxruntime", chunk=64)
    mixture, stems = sound((1, 1, 64)) + 0.1, np.empty(built.spec.stems_shape, np.float32)
    before = addresses(built)
    gc.collect()
    tracemalloc.start()
    try:
        # The interpreter's own free lists fill first.
        for _ in range(1000):
            built.process(mixture, stems)
        start, _ = tracemalloc.get_traced_memory()
        for _ in range(STEPS):
            built.process(mixture, stems)
        end, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert end - start < 1024
    assert addresses(built) == before


def addresses(engine) -> list[int]:
    """Where the buffers of an ONNX Runtime engine lie."""
    return [array.ctypes.data for array in arrays(engine)]


def arrays(engine) -> list[np.ndarray]:
    rings = [ring._memory for ring in engine._rings]
    return [engine._mixture, engine._stems, *engine._sets[0], *engine._sets[1], *rings]


def test_buffers_start_on_cache_lines_and_never_overlap():
    found = arrays(engines.build(make("masked"), "onnxruntime", chunk=64))
    assert all(array.ctypes.data % 64 == 0 for array in found)
    spans = sorted((array.ctypes.data, array.ctypes.data + array.nbytes) for array in found)
    assert all(end <= start for (_, end), (start, _) in zip(spans, spans[1:], strict=False))


@pytest.mark.skipif(not Flushing().supported, reason=f"{sys.platform} {platform.machine()}")
def test_denormals_are_zero_within_and_only_there():
    small = np.full(1000, 1e-20, np.float32)
    outside, within, after = [], [], []

    def multiply():
        flushing = Flushing()
        outside.append((small * small).any())
        with flushing:
            within.append((small * small).any())
        after.append((small * small).any())

    multiply()
    thread = threading.Thread(target=multiply)
    thread.start()
    thread.join()
    assert within == [False, False]
    assert after == outside
