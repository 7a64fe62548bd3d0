"""Products of an exported graph in fewer bits."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

_SMALLEST = 1024
_BLOCK = 32


def weights(graph: ir.Graph) -> None:
    """Constant matrices that rows are multiplied by become int8, with a scale per column.

    Symmetric, rounded to the nearest of 255 steps; what has fewer than 1024 values stays. The graph
    unpacks them (`DequantizeLinear`) where they are used. Recurrences keep their weights.
    """
    for node, weight in _large(graph):
        scale = _scale(weight, axis=0)
        name = node.inputs[1].name
        held = [
            _constant(graph, f"{name}.int8", np.rint(weight / scale).astype(np.int8)),
            _constant(graph, f"{name}.scale", scale),
        ]
        unpacked = ir.node("DequantizeLinear", held, {"axis": 1})
        graph.insert_before(node, unpacked)
        node.replace_input_with(1, unpacked.outputs[0])
    _drop_unused(graph)


def blocks(graph: ir.Graph) -> None:
    """The same matrices in int8 with a scale for every 32 values; rows become int8 as they come.

    As ONNX Runtime's `MatMulNBits` has it, which takes each row by itself: streams of one batch
    don't meet, as they would in its `DynamicQuantizeLinear`.
    """
    graph.opset_imports["com.microsoft"] = 1
    for node, weight in _large(graph):
        inner, outer = weight.shape
        count = -(-inner // _BLOCK)
        columns = np.zeros((outer, count * _BLOCK), np.float32)
        columns[:, :inner] = weight.T
        columns = columns.reshape(outer, count, _BLOCK)
        scale = _scale(columns, axis=2)
        integers = (np.rint(columns / scale[..., None]) + 128).astype(np.uint8)
        name = node.inputs[1].name
        held = [
            node.inputs[0],
            _constant(graph, f"{name}.blocks", integers),
            _constant(graph, f"{name}.scales", scale),
        ]
        attributes = dict(K=inner, N=outer, bits=8, block_size=_BLOCK, accuracy_level=4)
        product = ir.node("MatMulNBits", held, attributes, domain="com.microsoft")
        graph.insert_before(node, product)
        given, made = node.outputs[0], product.outputs[0]
        made.shape, made.type = given.shape, given.type
        made.name, given.name = given.name, f"{given.name}.float32"
        ir.convenience.replace_all_uses_with(given, made, replace_graph_outputs=True)
        graph.remove(node, safe=True)
    _drop_unused(graph)


def products(graph: ir.Graph, precision: str) -> None:
    """Matrix products and convolutions in "float16" or "bfloat16", all else as it was."""
    dtype = {"float16": ir.DataType.FLOAT16, "bfloat16": ir.DataType.BFLOAT16}[precision]

    def cast(value: ir.Value, to: ir.DataType, before: ir.Node) -> ir.Value:
        node = ir.node("Cast", [value], {"to": to})
        node.outputs[0].name = f"{before.outputs[0].name}.{to.name}.{value.name}"
        graph.insert_before(before, node)
        return node.outputs[0]

    for node in list(graph):
        if node.op_type not in ("MatMul", "Gemm", "Conv", "ConvTranspose"):
            continue
        for index, value in enumerate(node.inputs):
            if value is not None:
                node.replace_input_with(index, cast(value, dtype, node))
        given = node.outputs[0]
        following = ir.node("Cast", [given], {"to": ir.DataType.FLOAT})
        following.outputs[0].name, given.name = given.name, f"{given.name}.{precision}"
        following.outputs[0].shape, following.outputs[0].type = given.shape, given.type
        graph.insert_after(node, following)
        ir.convenience.replace_all_uses_with(
            given, following.outputs[0], replace_graph_outputs=True
        )
        following.replace_input_with(0, given)
        given.type = ir.TensorType(dtype)


def _large(graph: ir.Graph) -> list[tuple[ir.Node, np.ndarray]]:
    """Products with a constant matrix that is worth it, and the matrix."""
    found = []
    for node in graph:
        if node.op_type == "MatMul" and node.inputs[1].const_value is not None:
            weight = node.inputs[1].const_value.numpy()
            if weight.ndim == 2 and weight.dtype == np.float32 and weight.size >= _SMALLEST:
                found.append((node, weight))
    return found


def _scale(weight: np.ndarray, axis: int) -> np.ndarray:
    scale = np.abs(weight).max(axis) / np.float32(127)
    scale[scale == 0] = 1
    return scale


def _constant(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """One of its name: a matrix may be used more than once."""
    if name not in graph.initializers:
        graph.register_initializer(ir.Value(name=name, const_value=ir.tensor(array)))
    return graph.initializers[name]


def _drop_unused(graph: ir.Graph) -> None:
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]
