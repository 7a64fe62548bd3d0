"""Where in a graph rounding would be heard as it is: next to the sound, at both ends."""

from __future__ import annotations

import onnx_ir as ir


def ends(graph: ir.Graph, products: set[str]) -> set[ir.Node]:
    """The first products on the way from the sound, and the last two on the way to it."""
    mixture = next(value for value in graph.inputs if value.name == "mixture")
    first = _nearest([mixture], products, lambda value: value.consumers(), lambda n: n.outputs)
    last: set[ir.Node] = set()
    values = [graph.outputs[0]]
    for _ in range(2):
        found = _nearest(values, products, lambda value: [value.producer()], lambda n: n.inputs)
        values = [value for node in found for value in node.inputs]
        last |= found
    return first | last


def _nearest(values, products: set[str], to_nodes, to_values) -> set[ir.Node]:
    """The products that are reached from values by way of anything but products."""
    found: set[ir.Node] = set()
    waiting, seen = [value for value in values if value is not None], set()
    while waiting:
        for node in to_nodes(waiting.pop()):
            if node is None or node in seen:
                continue
            seen.add(node)
            if node.op_type in products:
                found.add(node)
            else:
                waiting += [value for value in to_values(node) if value is not None]
    return found
