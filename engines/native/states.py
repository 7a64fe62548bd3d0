"""The leaves of the state: rings where a past is joined to what is new, plain memory elsewhere.

A ring of `turn` frames lies in memory twice, one copy after the other, and each new block is
written to both. So whatever the turn, the past and the new frames lie in one piece before and in
the upper copy's block: nothing is ever shifted, and no view wraps.
"""

from __future__ import annotations

import math

import onnx_ir as ir

from rtsep.engines.native.plan import (
    Buffer,
    Load,
    Map,
    StateLeaf,
    Unsupported,
    View,
    contiguous,
)
from rtsep.engines.native.views import cut
from rtsep.engines.state import Leaf

_KINDS = {"float32": "f32", "int64": "i64", "bool": "i1"}
_TIME = 1


class States:
    """Feeds a lowering the graph's inputs, takes over what rings replace, and writes the rest."""

    def __init__(self, lowering, graph: ir.Graph, leaves: list[Leaf]) -> None:
        self._lowering = lowering
        inputs = {value.name: value for value in graph.inputs}
        outputs = {value.name: value for value in graph.outputs}
        self._joins: dict[ir.Node, tuple[Leaf, ir.Node]] = {}
        self._gone: set[ir.Node] = set()
        self._plain: list[tuple[View, ir.Value]] = []
        for leaf in leaves:
            past, following = inputs[f"state.{leaf.name}"], outputs[f"next.{leaf.name}"]
            if leaf.dtype not in _KINDS:
                raise Unsupported(f"a state of type {leaf.dtype}")
            join = _join(past, following)
            if join is None:
                view = self._memory(leaf)
                lowering.values[past] = lowering.lazy_load(view)
                self._plain.append((view, following))
            else:
                self._joins[join] = (leaf, join)
                self._gone.add(following.producer())
        mixture = inputs["mixture"]
        shape = tuple(mixture.shape)
        buffer = lowering.buffer("mixture", "mixture", "f32", math.prod(shape))
        lowering.values[mixture] = lowering.lazy_load(View(buffer, 0, shape, contiguous(shape)))

    def takes(self, node: ir.Node) -> bool:
        """Whether a ring does what the node says; done then."""
        if node in self._gone:
            return True
        if node not in self._joins:
            return False
        leaf, join = self._joins[node]
        new = self._lowering.values[join.inputs[1]]
        self._lowering.values[join.outputs[0]] = self._lowering.lazy_load(self._ring(leaf, new))
        return True

    def finish(self) -> None:
        """The next state takes the place of the last, after all have read it."""
        lowering, ready = self._lowering, []
        for view, following in self._plain:
            value = lowering.values[following]
            source = lowering.view(value)
            if source == view:
                continue
            if source.buffer.kind not in ("scratch", "constant"):
                # Another leaf, which may have been overwritten by then.
                out = lowering.scratch(source.shape, source.dtype)
                source = lowering.store(value, out)
            ready.append(Map(view, Load(source)))
        lowering.plan.operations += ready

    def _memory(self, leaf: Leaf) -> View:
        kind = _KINDS[leaf.dtype]
        buffer = self._lowering.buffer(leaf.name, "state", kind, math.prod(leaf.shape))
        self._keep(leaf, buffer)
        return View(buffer, 0, leaf.shape, contiguous(leaf.shape))

    def _ring(self, leaf: Leaf, new) -> View:
        """Past and new frames as one view; the new ones are written to both copies."""
        batch, past, *rest = leaf.shape
        added = new.shape[_TIME]
        turn = -(-(past + added) // added) * added
        frame = math.prod(rest)
        kind = _KINDS[leaf.dtype]
        buffer = self._lowering.buffer(leaf.name, "ring", kind, batch * 2 * turn * frame)
        buffer.turn, buffer.step, buffer.frame = turn, added, frame
        self._keep(leaf, buffer)
        shape = (batch, 2 * turn, *rest)
        both = View(buffer, 0, shape, contiguous(shape))
        block = cut(both, _TIME, turn, added)
        self._lowering.store(new, block)
        self._lowering.plan.operations.append(Map(cut(both, _TIME, 0, added), Load(block)))
        return cut(both, _TIME, turn - past, past + added)

    def _keep(self, leaf: Leaf, buffer: Buffer) -> None:
        self._lowering.plan.leaves.append(StateLeaf(buffer, leaf.shape, leaf.fresh))


def _join(past: ir.Value, following: ir.Value) -> ir.Node | None:
    """The node that joins a past to new frames, of which all but the first are the next past."""
    uses = past.uses()
    if len(uses) != 1 or past.is_graph_output():
        return None
    (join, _) = uses[0]
    if join.op_type != "Concat" or len(join.inputs) != 2 or join.inputs[0] is not past:
        return None
    if join.attributes["axis"].as_int() != _TIME or join.outputs[0].is_graph_output():
        return None
    node = following.producer()
    if node is None or node.op_type != "Slice" or node.inputs[0] is not join.outputs[0]:
        return None
    if len(following.uses()) or any(value.const_value is None for value in node.inputs[1:]):
        return None
    start, end, axes, *steps = (value.const_value.numpy().ravel() for value in node.inputs[1:])
    if axes.tolist() != [_TIME] or (steps and steps[0].tolist() != [1]):
        return None
    new = join.inputs[1].shape
    if new is None or start[0] != new[_TIME] or end[0] < new[_TIME] + past.shape[_TIME]:
        return None
    return join
