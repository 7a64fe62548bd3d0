"""Operators along axes: sums and their like, norms, softmax."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from rtsep.engines.native import views
from rtsep.engines.native.elementwise import power
from rtsep.engines.native.lowering import Lazy, Lowering, Value
from rtsep.engines.native.nodes import Handler, attribute, axes_of, constant_of, number
from rtsep.engines.native.plan import Load, Norm, Reduce, Result, Scan, Unsupported


def reduced(low: Lowering, x: Value, kind: str, axes: list[int], keep: bool = True) -> Lazy:
    """ "sum", "max" or "min" over axes, of size 1 afterwards where they are kept."""
    x = low.lazy(x)
    if x.root is not None:
        x = low.settled(x)
    others = [axis for axis in range(len(x.shape)) if axis not in axes]
    order = [*others, *axes]
    moved = low.moved(x, lambda view: views.permute(view, order), [x.shape[a] for a in order])
    out = low.scratch([x.shape[axis] for axis in others], x.dtype)
    sizes = tuple(x.shape[axis] for axis in axes)
    result = low.emit(Reduce(out, kind, moved.expression, sizes))
    if not keep:
        return result
    view = out
    for axis in axes:
        view = views.insert(view, axis)
    return Lazy(view.shape, Load(view))


def _reduce(kind: str) -> Handler:
    def handle(low: Lowering, node: ir.Node, x: Lazy, axes: Value | None = None) -> Value:
        keep = bool(attribute(node, "keepdims", 1))
        if axes is None and "axes" in node.attributes:
            axes = np.array(node.attributes["axes"].value)
        chosen = axes_of(axes, len(x.shape))
        if kind == "l2":
            x = power(low, node, x, np.array(2.0, np.float32))
        result = reduced(low, x, "sum" if kind in ("mean", "l2") else kind, chosen, keep)
        if kind == "mean":
            count = math.prod(x.shape[axis] for axis in chosen)
            return low.apply("mul", result, number(1 / count, result))
        return low.apply("sqrt", result) if kind == "l2" else result

    return handle


def _layer_norm(low: Lowering, node: ir.Node, x: Lazy, gain: Value, bias=None) -> Value:
    if attribute(node, "axis", -1) % len(x.shape) != len(x.shape) - 1:
        raise Unsupported("a norm over several axes")
    if len(node.outputs) > 1:
        raise Unsupported("a norm's statistics")
    if x.root is not None:
        x = low.settled(x)
    # Where it goes is known when it is stored.
    nowhere = low.nowhere(x.shape)
    root = Norm(nowhere, x.expression, attribute(node, "epsilon", 1e-5), Result())
    y = low.apply("mul", Lazy(x.shape, Result(), root), gain)
    return y if bias is None else low.apply("add", y, bias)


def _cumulative(low: Lowering, node: ir.Node, x: Lazy, axis: Value) -> Value:
    if attribute(node, "exclusive", 0) or attribute(node, "reverse", 0):
        raise Unsupported("a cumulative sum that is exclusive or reversed")
    chosen = int(constant_of(axis, "an axis").item()) % len(x.shape)
    order = [i for i in range(len(x.shape)) if i != chosen] + [chosen]
    out = low.scratch(x.shape, x.dtype)
    low.emit(Scan(views.permute(out, order), views.permute(low.view(x), order)))
    return Lazy(out.shape, Load(out))


def _softmax(low: Lowering, node: ir.Node, x: Lazy) -> Value:
    axis = [attribute(node, "axis", -1) % len(x.shape)]
    x = low.settled(x)
    powers = low.settled(low.apply("exp", low.apply("sub", x, reduced(low, x, "max", axis))))
    return low.apply("div", powers, reduced(low, powers, "sum", axis))


ALONG: dict[str, Handler] = {
    "ReduceSum": _reduce("sum"),
    "ReduceMean": _reduce("mean"),
    "ReduceMax": _reduce("max"),
    "ReduceMin": _reduce("min"),
    "ReduceL2": _reduce("l2"),
    "Softmax": _softmax,
    "LayerNormalization": _layer_norm,
    "CumSum": _cumulative,
}
