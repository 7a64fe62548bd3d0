"""What `build` accepts, what it refuses, and how it says so."""

from __future__ import annotations

import numpy as np
import pytest
from engine_models import make, run, sound

from rtsep import engines
from rtsep.errors import Failure, WrongCall


def test_every_engine_is_listed_with_what_it_lacks():
    listed = engines.available()
    gpu = {"cudagraph", "tensorrt", "onnxruntime-cuda", "onnxruntime-tensorrt"}
    processor = {"eager", "native", "onnxruntime", "openvino", "onnxruntime-openvino", "inductor"}
    assert processor | gpu == set(listed)
    machine = ("NVIDIA", "C++ compiler")
    for reason in filter(None, listed.values()):
        assert "pip install" in reason or any(part in reason for part in machine), reason


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (dict(engine="quantum"), "auto, native, onnxruntime, .*eager"),
        (dict(chunk=100), "64, 128, 192"),
        (dict(chunk=0), "64, 128, 192"),
        (dict(batch=0), "at least 1"),
        (dict(precision="int3"), "float32"),
        (dict(engine="eager", precision="bfloat16"), "float32, float64"),
    ],
)
def test_wrong_calls_say_what_is_accepted(arguments, said):
    with pytest.raises(WrongCall, match=said):
        engines.build(make(), **arguments)


def test_unknown_models():
    with pytest.raises(WrongCall, match="nonesuch"):
        engines.build("nonesuch", "eager")
    with pytest.raises(WrongCall, match="Separator"):
        engines.build(3, "eager")


@pytest.mark.parametrize("engine", ["eager", "native", "onnxruntime"])
def test_spec_says_what_was_built(engine):
    model = make("stereo")
    spec = engines.build(model, engine, chunk=128, batch=2).spec
    assert (spec.model, spec.engine, spec.precision) == ("convtasnet", engine, "float32")
    assert (spec.chunk, spec.hop, spec.latency) == (128, model.hop, model.latency)
    assert (spec.stems, spec.primary) == (("voice", "background"), "voice")
    assert spec.remainder == "background"
    assert spec.mixture_shape == (2, 2, 128) and spec.stems_shape == (2, 2, 2, 128)


def test_default_chunk_is_the_multiple_of_the_hop_nearest_four_milliseconds():
    assert engines.default_chunk(64, 16000) == 64
    assert engines.default_chunk(16, 16000) == 64
    assert engines.default_chunk(256, 16000) == 256
    assert engines.default_chunk(100, 44100) == 200
    assert engines.build(make(), "eager").spec.chunk == 64


@pytest.mark.parametrize("engine", ["eager", "native", "onnxruntime"])
def test_wrong_buffers_and_rows(engine):
    built = engines.build(make(), engine, chunk=64)
    mixture, stems = (np.zeros(shape, np.float32) for shape in ((1, 1, 64), (1, 2, 1, 64)))
    whole = stems.astype(np.int32)
    wrong_ones = [(mixture[..., :32], stems), (mixture[0], stems), (mixture, stems[:, :1])]
    for wrong in [*wrong_ones, (mixture, whole)]:
        with pytest.raises(WrongCall, match="this engine takes"):
            built.process(*wrong)
    with pytest.raises(WrongCall, match="rows"):
        built.process(mixture, stems, [True, True])
    with pytest.raises(WrongCall, match="row 1"):
        built.reset([1])
    built.close()
    with pytest.raises(Failure, match="closed"):
        built.process(mixture, stems)
    with pytest.raises(Failure, match="closed"):
        built.reset()


def test_eager_in_float64_is_finer():
    model = make()
    mixture = sound((1, 1, 64 * 100))
    import torch

    exact = model.double().separate(torch.from_numpy(mixture).double()).numpy()
    model.float()
    engine = engines.build(model, "eager", chunk=64, precision="float64")
    stems = np.empty(engine.spec.stems_shape)
    outputs = []
    for start in range(0, mixture.shape[-1], 64):
        engine.process(np.ascontiguousarray(mixture[..., start : start + 64]), stems)
        outputs.append(stems.copy())
    late = model.latency
    error = np.abs(np.concatenate(outputs, -1)[..., late:] - exact[..., :-late]).max()
    assert error <= 1e-10 * np.abs(exact).max()
    single = run(engines.build(model, "eager", chunk=64), mixture)
    assert np.abs(single[..., late:] - exact[..., :-late]).max() > 1e-10 * np.abs(exact).max()
