"""TensorRT's engines of every architecture, made where no GPU is; and none promised there."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from engine_models import ARCHITECTURES, make, tiny

from rtsep import engines
from rtsep.engines import cache, requirements, state
from rtsep.engines.source import Source
from rtsep.errors import Failure

CAPABILITIES = ("SM80", "SM86", "SM89", "SM120")


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_builds_every_architecture(arch):
    """In each precision and for each kind of GPU by turns."""
    pytest.importorskip("tensorrt_rtx")
    from rtsep.engines import tensorrt

    turn = list(ARCHITECTURES).index(arch)
    precision = tensorrt.PRECISIONS[turn % len(tensorrt.PRECISIONS)]
    made, model = plan(tiny(arch), precision, CAPABILITIES[turn % len(CAPABILITIES)])
    bindings = json.loads(made["bindings.json"])
    leaves, _ = state.read(made["state.json"])
    chunk = model.hop
    assert bindings["mixture"] == ["FLOAT", [1, model.channels, chunk]]
    assert bindings["stems"] == ["FLOAT", [1, len(model.stems), model.channels, chunk]]
    types = {"float32": "FLOAT", "int64": "INT64"}
    for leaf in leaves:
        expected = [types[leaf.dtype], list(leaf.shape)]
        assert bindings[f"state.{leaf.name}"] == bindings[f"next.{leaf.name}"] == expected
    assert len(bindings) == 2 + 2 * len(leaves)
    weights = sum(p.numel() for p in model.parameters()) * 2
    assert weights / 4 < len(made["step.plan"]) < 32e6


def plan(model, precision, capability):
    from rtsep.engines import tensorrt

    source = Source(model)
    spec = replace(source.stream("tensorrt", model.hop, 1, precision), device="cuda")
    return tensorrt.plan(source, spec, lambda text: None, capability), model


def test_networks_are_strongly_typed_and_exact():
    """TF32 is off, and what is not a product stays float32 in reduced precisions."""
    trt = pytest.importorskip("tensorrt_rtx")
    from rtsep.engines import tensorrt

    source = Source(make("plain"))
    for precision, dtype in (("float32", None), ("float16", "HALF"), ("bfloat16", "BF16")):
        spec = source.stream("tensorrt", 64, 1, precision)
        graph, _ = tensorrt.step_graph(source, spec, lambda text: None)
        with tensorrt.definition(trt, graph, spec) as (builder, network, config):
            assert network.get_flag(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
            assert not config.get_flag(trt.BuilderFlag.TF32)
            layers = [network.get_layer(index) for index in range(network.num_layers)]
            kinds = {
                layer.get_output(0).dtype
                for layer in layers
                if layer.type == trt.LayerType.MATRIX_MULTIPLY
            }
        assert kinds == {getattr(trt.DataType, dtype or "FLOAT")}


@pytest.mark.skipif(requirements.gpu() is None, reason="there is a GPU: it would run")
@pytest.mark.parametrize("engine", ["cudagraph", "tensorrt"])
def test_without_a_gpu_it_says_so(engine):
    reason = engines.available()[engine]
    assert "NVIDIA" in reason or "CUDA" in reason or "not installed" in reason
    with pytest.raises(Failure, match=f"engine {engine}: "):
        engines.build(make(), engine)


def test_the_key_names_gpu_and_library():
    content = dict(digest="d", chunk=64, batch=1, precision="float16")
    keys = {
        cache.key("tensorrt", ("tensorrt",), module=module, gpu=gpu, **content)
        for module in requirements.TENSORRT
        for gpu in ("one 8.9", "other 9.0")
    }
    assert len(keys) == 4
