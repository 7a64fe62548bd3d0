"""An LSTM as products and gates, one frame after the other."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from rtsep.engines.native import views
from rtsep.engines.native.indexing import sliced
from rtsep.engines.native.lowering import Lazy, Lowering, Value
from rtsep.engines.native.nodes import attribute, constant_of
from rtsep.engines.native.plan import Load, Unsupported
from rtsep.engines.native.products import product


def lstm(
    low: Lowering,
    node: ir.Node,
    x: Value,
    weight: Value,
    recurrent: Value,
    bias: Value | None = None,
    lengths: Value | None = None,
    hidden: Value | None = None,
    cell: Value | None = None,
    peepholes: Value | None = None,
) -> list[Value]:
    """ONNX's: x (frames, batch, k), weights (directions, 4 units, k), gates i o f c."""
    direction = attribute(node, "direction", "forward")
    whole = lengths is None or set(constant_of(lengths, "lengths").tolist()) == {x.shape[0]}
    plain = whole and peepholes is None and not attribute(node, "layout", 0)
    custom = {"activations", "clip"} & set(node.attributes) or attribute(node, "input_forget", 0)
    if custom or not plain or direction == "reverse":
        raise Unsupported("an LSTM with more than its usual gates")
    weights = constant_of(weight, "an LSTM's weight"), constant_of(recurrent, "an LSTM's weight")
    directions, units = weights[1].shape[0], weights[1].shape[2]
    frames, batch, _ = x.shape
    if bias is None:
        bias = np.zeros((directions, 8 * units), np.float32)
    biases = constant_of(bias, "an LSTM's bias").reshape(directions, 2, -1).sum(1)
    x = low.settled(low.lazy(x))
    out = low.scratch((frames, directions, batch, units), "f32")
    last: list[tuple[Lazy, Lazy]] = []
    for d in range(directions):
        start = [
            np.zeros((batch, units), np.float32) if state is None else _picked(low, state, d)
            for state in (hidden, cell)
        ]
        order = range(frames) if d == 0 else range(frames - 1, -1, -1)
        places = {t: views.pick(views.pick(out, 0, t), 0, d) for t in order}
        gates = low.apply("add", product(low, x, weights[0][d].T), biases[d])
        last.append(_run(low, low.settled(gates), weights[1][d].T, start, places))
    ends = [_stacked(low, [pair[i] for pair in last]) for i in range(2)]
    return [Lazy(out.shape, Load(out)), *ends]


def _run(low: Lowering, gates: Lazy, recurrent: np.ndarray, start, places) -> tuple[Lazy, Lazy]:
    """Frame by frame in the order of `places`, where the outputs go; the last output and cell."""
    hidden, cell = start
    units = recurrent.shape[0]
    for t, place in places.items():
        given = low.moved(gates, lambda v, t=t: views.pick(v, 0, t), gates.shape[1:])
        summed = low.settled(low.apply("add", product(low, hidden, recurrent), given))
        i, o, f, c = (sliced(low, summed, 1, k * units, units) for k in range(4))
        kept = low.apply("mul", low.apply("sigmoid", f), cell)
        added = low.apply("mul", low.apply("sigmoid", i), low.apply("tanh", c))
        cell = low.settled(low.apply("add", kept, added))
        low.store(low.apply("mul", low.apply("sigmoid", o), low.apply("tanh", cell)), place)
        hidden = Lazy(place.shape, Load(place))
    return hidden, cell


def _picked(low: Lowering, state: Value, direction: int) -> Lazy:
    state = low.lazy(state)
    return low.moved(state, lambda view: views.pick(view, 0, direction), state.shape[1:])


def _stacked(low: Lowering, states: list[Lazy]) -> Lazy:
    """(directions, batch, units)"""
    shape = (1, *states[0].shape)
    if len(states) == 1:
        return low.moved(states[0], lambda view: views.insert(view, 0), shape)
    out = low.scratch((len(states), *states[0].shape), "f32")
    for d, state in enumerate(states):
        low.store(state, views.pick(out, 0, d))
    return Lazy(out.shape, Load(out))
