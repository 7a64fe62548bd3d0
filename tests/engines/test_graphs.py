"""Changes to exported graphs, in ONNX Runtime: the same sound after them, or nearly."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from engine_models import make, ratio, tiny
from onnx_ir.passes import common

from rtsep.engines import quantise, unroll
from rtsep.engines.exported import exported
from rtsep.engines.source import Source


def outputs(model: ir.Model) -> dict[str, np.ndarray]:
    """Of one step on noise."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    graph = ir.to_proto(model).SerializeToString()
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    random, feed = np.random.default_rng(0), {}
    for given in session.get_inputs():
        kind = np.float32 if "float" in given.type else np.int64
        feed[given.name] = random.standard_normal(given.shape).astype(kind)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def step(model, batch=1) -> ir.Model:
    return exported(Source(model), 2 * model.hop, batch, lambda text: None)[0]


def test_unrolled_recurrences():
    model = step(tiny("hstasnet"), batch=2)
    expected = outputs(model)
    common.ShapeInferencePass()(model)
    unroll.lstms(model.graph)
    assert not any(node.op_type == "LSTM" for node in model.graph)
    found = outputs(model)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, atol=1e-5 * max(1, np.abs(array).max()))


@pytest.mark.parametrize("change", [quantise.weights, quantise.blocks])
def test_weights_in_eight_bits(change):
    """Smaller by nearly four; and as near as eight bits are."""
    model = step(make("plain", filters=64, bottleneck=64, hidden=64, skip=64))
    before = len(ir.to_proto(model).SerializeToString())
    expected = outputs(model)
    change(model.graph)
    assert len(ir.to_proto(model).SerializeToString()) < 0.6 * before
    assert 30 < ratio(expected["stems"], outputs(model)["stems"]) < 80
