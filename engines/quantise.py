"""Weights of an exported graph as 8-bit integers."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

_SMALLEST = 1024


def weights(graph: ir.Graph) -> None:
    """Constant matrices that rows are multiplied by become int8, with a scale per column.

    Symmetric, rounded to the nearest of 255 steps; what has fewer than 1024 values stays. The graph
    unpacks them (`DequantizeLinear`) where they are used. Recurrences keep their weights.
    """
    for node in list(graph):
        if node.op_type != "MatMul" or node.inputs[1].const_value is None:
            continue
        value = node.inputs[1]
        weight = value.const_value.numpy()
        if weight.ndim != 2 or weight.dtype != np.float32 or weight.size < _SMALLEST:
            continue
        scale = np.abs(weight).max(0) / np.float32(127)
        scale[scale == 0] = 1
        integers = np.rint(weight / scale).astype(np.int8)
        parts = [
            ir.Value(name=f"{value.name}.{name}", const_value=ir.tensor(part))
            for name, part in (("int8", integers), ("scale", scale))
        ]
        for part in parts:
            if part.name not in graph.initializers:
                graph.register_initializer(part)
        held = [graph.initializers[part.name] for part in parts]
        unpacked = ir.node("DequantizeLinear", held, {"axis": 1})
        graph.insert_before(node, unpacked)
        node.replace_input_with(1, unpacked.outputs[0])
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]
