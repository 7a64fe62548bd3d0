"""Recurrences of an exported graph, frame by frame."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir


def lstms(graph: ir.Graph) -> None:
    """`LSTM` (forward, one direction, usual activations) becomes products, sigmoids and tanhs.

    All frames meet the input's weights in one product; what depends on the frame before follows,
    once per frame of a chunk. Raises `ValueError` for a form that rtsep does not export.
    """
    for node in list(graph):
        if node.op_type == "LSTM":
            _unroll(graph, node)


def _unroll(graph: ir.Graph, node: ir.Node) -> None:
    x, kernel, recurrent, bias, lengths, hidden, cell, *peepholes = node.inputs
    direction = node.attributes.get("direction")
    if lengths is not None or any(peepholes) or (direction and direction.as_string() != "forward"):
        raise ValueError(f"{node.name}: an LSTM of another form")
    units = node.attributes["hidden_size"].as_int()
    frames, batch = x.shape[0], x.shape[1]
    made = _Builder(graph, node)

    def matrix(value: ir.Value) -> ir.Value:
        """(1, 4 · units, n) to (n, 4 · units)."""
        return made("Transpose", made("Squeeze", value, made.integers(0)), perm=[1, 0])

    gates = made("MatMul", x, matrix(kernel))
    if bias is not None:
        both = made("Reshape", bias, made.integers(2, 4 * units))
        gates = made("Add", gates, made("ReduceSum", both, made.integers(0), keepdims=0))
    recurrent = matrix(recurrent)
    zeros = made.constant(np.zeros((batch, units), np.float32))
    h = made("Squeeze", hidden, made.integers(0)) if hidden is not None else zeros
    c = made("Squeeze", cell, made.integers(0)) if cell is not None else zeros
    given = []
    for frame in range(frames):
        now = made("Gather", gates, made.constant(np.array(frame, np.int64)), axis=0)
        now = made("Add", now, made("MatMul", h, recurrent))
        # ONNX keeps them in this order: input, output, forget, cell.
        i, o, f, g = (
            made("Slice", now, *(made.integers(n) for n in (k * units, (k + 1) * units, 1)))
            for k in range(4)
        )
        kept = made("Mul", made("Sigmoid", f), c)
        c = made("Add", kept, made("Mul", made("Sigmoid", i), made("Tanh", g)))
        h = made("Mul", made("Sigmoid", o), made("Tanh", c))
        given.append(h)
    stacked = [made("Unsqueeze", y, made.integers(0, 1)) for y in given]
    results = [
        made("Concat", *stacked, axis=0),
        made("Unsqueeze", h, made.integers(0)),
        made("Unsqueeze", c, made.integers(0)),
    ]
    for old, new in zip(node.outputs, results, strict=False):
        new.shape, new.type = old.shape, old.type
        new.name, old.name = old.name, f"{old.name}.whole"
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    graph.remove(node, safe=True)


class _Builder:
    """`builder("Add", a, b)` puts an operation before a node and gives its output."""

    def __init__(self, graph: ir.Graph, node: ir.Node) -> None:
        self._graph, self._node, self._prefix = graph, node, node.outputs[0].name
        self._count = 0

    def __call__(self, kind: str, *inputs: ir.Value, **attributes) -> ir.Value:
        node = ir.node(kind, inputs, attributes or None)
        self._graph.insert_before(self._node, node)
        node.outputs[0].name = self._name()
        return node.outputs[0]

    def integers(self, *values: int) -> ir.Value:
        return self.constant(np.array(values, np.int64))

    def constant(self, array: np.ndarray) -> ir.Value:
        value = ir.Value(name=self._name(), const_value=ir.tensor(array))
        value.shape, value.type = ir.Shape(array.shape), ir.TensorType(ir.tensor(array).dtype)
        self._graph.register_initializer(value)
        return value

    def _name(self) -> str:
        self._count += 1
        return f"{self._prefix}.unrolled.{self._count}"
