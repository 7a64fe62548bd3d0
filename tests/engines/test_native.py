"""The native engine by itself: other architectures, rings at every phase, what it keeps."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import torch
from engine_models import make, run, sound
from torch import nn

import rtsep
import rtsep.checkpoints
from rtsep import engines
from rtsep.engines import accuracy, native
from rtsep.engines.native import processor
from rtsep.errors import Failure, WrongCall
from rtsep.models.base import Separator
from rtsep.pipeline import Pipeline
from rtsep.streaming import Pointwise

# Small ones of each kind of network: recurrences, convolutions over two axes, transforms, windows
# that see the first sample's reflection before it.
_WINDOWS = dict(rate=8000, window=32, hop=8, synthesis=16)
ARCHITECTURES = {
    "maskinference": dict(_WINDOWS, hidden=5),
    "openunmix": dict(_WINDOWS, hidden=6),
    "openunmix, reflected": dict(
        _WINDOWS | dict(synthesis=None, padding=16, reflect=True), hidden=6
    ),
    "hstasnet": dict(_WINDOWS, basis=12, hidden=6),
    "unet": dict(_WINDOWS, layers=2, filters=3),
    "deepclustering": dict(_WINDOWS, hidden=5, embedding=4),
    "demucs": dict(hidden=(5, 7), kernel=(16, 4), stride=(4, 2), synthesis=(12, 2)),
}
# Signal to difference against eager in float32.
LEAST_DB = {"float32": 100.0, "bfloat16": 35.0, "int8": 20.0}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_equals_eager_in_each_precision(precision):
    model = make("plain", hidden=64, bottleneck=64)
    mixture = sound((1, 1, 64 * 200))
    built = engines.build(model, "native", chunk=64, precision=precision)
    expected = run(engines.build(model, "eager", chunk=64), mixture)
    assert built.spec.precision == precision
    error = np.abs(run(built, mixture) - expected).max() / np.abs(expected).max()
    assert error <= (1e-5 if precision == "float32" else 2e-2)
    assert (error > 1e-4) == (precision == "bfloat16")


@pytest.mark.parametrize(("precision", "least"), [("bfloat16", 45.0), ("int8", 32.0)])
def test_what_a_reduced_precision_costs_the_shipped_model(precision, least):
    """On the demo, against eager in float32: 48 dB and 34 dB when this was written."""
    from rtsep.tuning import demo_sound

    mixture = demo_sound(engines.spec_of("convtasnet"), 2)
    built = engines.build("convtasnet", "native", chunk=64, precision=precision)
    reference = engines.build("convtasnet", "eager", chunk=64)
    found = accuracy.difference(
        accuracy.stream(reference, mixture), accuracy.stream(built, mixture)
    )
    assert least <= found.ratio < 80, found


@pytest.mark.parametrize(("batch", "chunk"), [(1, 64), (1, 192), (2, 128)])
def test_rings_are_right_at_every_phase(batch, chunk):
    """A row pauses or starts anew at any turn of the rings; another goes on."""
    model = make("masked")
    built = engines.build(model, "native", chunk=chunk, batch=batch)
    turns = max(leaf._turn for leaf in built._leaves)
    mixture = sound((batch, 1, chunk * 30), seed=2)[..., chunk * 4 :] + np.float32(0.01)
    expected = run(built, mixture)
    others = [row != 0 for row in range(batch)]
    for turn in range(1, min(turns, 12) + 1):
        built.reset()
        first = run(built, mixture[..., : turn * chunk])
        run(built, mixture[..., :chunk], active=lambda index: others)
        rest = run(built, mixture[..., turn * chunk :])
        assert np.array_equal(np.concatenate([first, rest], -1)[0], expected[0]), turn
        built.reset([0])
        assert np.array_equal(run(built, mixture)[0], expected[0]), turn


def test_a_second_start_needs_no_torch(tmp_path, monkeypatch):
    monkeypatch.setenv("RTSEP_CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "tiny.safetensors"
    rtsep.checkpoints.save(make(blocks=1, repeats=1), path)
    expected = run(engines.build(path, "native", chunk=64), sound((1, 1, 64 * 20)))
    (entry,) = (tmp_path / "cache" / "engines").iterdir()
    script = f"""
import sys, numpy as np, rtsep.engines
engine = rtsep.engines.build({str(path)!r}, "native", chunk=64, progress=print)
print(*sorted({{"torch", "onnx", "onnx_ir", "onnxruntime", "numba"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("\n", "")
    content = bytearray(entry.read_bytes())
    content[len(content) // 2] ^= 1
    entry.write_bytes(content)
    again = run(engines.build(path, "native", chunk=64), sound((1, 1, 64 * 20)))
    assert np.array_equal(again, expected)


def test_ten_thousand_steps_take_no_memory():
    built = engines.build(make(blocks=1, repeats=1), "native", chunk=64)
    mixture, stems = sound((1, 1, 64)) + 0.1, np.empty(built.spec.stems_shape, np.float32)
    for _ in range(100):
        built.process(mixture, stems)
    tracemalloc.start()
    try:
        start, _ = tracemalloc.get_traced_memory()
        for _ in range(10_000):
            built.process(mixture, stems)
        end, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert end - start < 1024


def test_denormals_are_zero_within_a_step_and_only_there():
    built = engines.build(make(blocks=1, repeats=1), "native", chunk=64)
    mixture, stems = sound((1, 1, 64)), np.empty(built.spec.stems_shape, np.float32)
    small = np.full(1000, 1e-20, np.float32)
    before = (small * small).any()
    built.process(mixture * 0, stems)
    assert (small * small).any() == before


class Odd(Separator):
    """Has an operation that nobody has a kernel for."""

    arch = "odd"

    def __init__(self) -> None:
        roles = dict(stems=("a",), primary="a", remainder="a", consistency="none")
        super().__init__(dict(roles, rate=16000, channels=1))

        def function(x: torch.Tensor) -> torch.Tensor:
            return nn.functional.softplus(torch.atan(x))[..., None, :]

        self.finish(Pointwise(function, (1,), (1, 1)))


def test_what_it_lacks_is_named():
    with pytest.raises(Failure, match="no kernel for odd: operation Atan; onnxruntime has"):
        engines.build(Odd(), "native", chunk=1)


def test_what_it_lacks_goes_to_onnxruntime_and_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("RTSEP_CACHE_DIR", str(tmp_path / "cache"))
    said: list[str] = []
    spec = engines.build(Odd(), chunk=1, progress=said.append).spec
    assert (spec.engine, spec.precision) == ("onnxruntime", "float32")
    assert "in place of native" in spec.reason and "operation Atan" in spec.reason
    assert any("operation Atan" in text for text in said)
    # What was found out is kept: the next start neither loads nor exports anything.
    said.clear()
    assert engines.build(Odd(), chunk=1, progress=said.append).spec.reason == spec.reason
    assert len(said) == 1 and "operation Atan" in said[0]
    assert engines.build(make(), chunk=64).spec.reason == "the default"
    assert engines.build(make(), "native", chunk=64).spec.reason == "asked for"


def test_a_kernel_that_is_wrong_is_not_used(monkeypatch):
    """As if the compiler had been: a sum comes out as a difference."""
    from rtsep.engines.native.functions import Vector

    monkeypatch.setattr(Vector, "add", Vector.sub)
    said: list[str] = []
    built = engines.build(make("masked", hidden=20), chunk=64, progress=said.append)
    assert built.spec.engine == "onnxruntime" and "differs from eager" in built.spec.reason


@pytest.mark.parametrize("level", ["baseline", "avx2", "avx512", "neon"])
@pytest.mark.parametrize("precision", native.PRECISIONS)
def test_every_level_of_this_processor(level, precision, monkeypatch):
    monkeypatch.setenv("RTSEP_CPU", level)
    processor.here.cache_clear()
    model = make("masked", hidden=64, bottleneck=64)
    mixture = sound((1, 1, 64 * 100))
    try:
        built = engines.build(model, "native", chunk=64, precision=precision)
    except WrongCall as missing:
        pytest.skip(str(missing))
    finally:
        processor.here.cache_clear()
    expected = run(engines.build(model, "eager", chunk=64), mixture)
    found = accuracy.difference(expected, run(built, mixture))
    assert found.ratio >= LEAST_DB[precision], found


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_other_architectures(name):
    torch.manual_seed(4)
    model = rtsep.create(name.split(",")[0], **ARCHITECTURES[name]).eval()
    mixture = sound((1, model.channels, model.hop * 60), seed=3)
    mixture += np.random.default_rng(1).standard_normal(mixture.shape).astype(np.float32) * 0.01
    built, reference = (engines.build(model, name, chunk=model.hop) for name in ("native", "eager"))
    expected = run(reference, mixture)
    assert expected.any()
    assert np.abs(run(built, mixture) - expected).max() <= 1e-5 * np.abs(expected).max()


class _Unaddressed:
    """An engine as those are that have no call by address."""

    def __init__(self, engine):
        self.spec, self.process = engine.spec, engine.process
        self.reset, self.close = engine.reset, engine.close


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_by_its_address_it_does_what_process_does(rate, channels):
    model = make("plain", hidden=12, bottleneck=8)
    x = 0.3 * sound((channels, rate))
    x[0, rate // 2 : rate // 2 + 500] = 3e38  # overflows within the network, in that row alone
    heard = []
    for form in (_Unaddressed, lambda engine: engine):
        engine = engines.build(model, "native", chunk=64, batch=channels)
        pipeline = Pipeline(form(engine), rate, channels, full_band=True)
        parts = [pipeline.process(x[:, n : n + 101]) for n in range(0, rate, 101)]
        heard.append(np.concatenate([*parts, pipeline.flush(rate)], axis=2))
        assert pipeline.resets > 0 and pipeline.steps >= 240
        pipeline.close()
    assert np.array_equal(*heard, equal_nan=True)
    with pytest.raises(Failure, match="closed"):
        _ = engine.call
