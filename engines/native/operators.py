"""Each of the graph's operators as expressions, index maps and operations of a plan."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from rtsep.engines.native import views
from rtsep.engines.native.lowering import Lazy, Lowering, Value
from rtsep.engines.native.plan import (
    Load,
    Norm,
    Reduce,
    Result,
    Scan,
    Unsupported,
)

Handler = Callable[..., Value | list[Value]]

_ELEMENTWISE = {
    "Add": "add",
    "Sub": "sub",
    "Mul": "mul",
    "Div": "div",
    "Neg": "neg",
    "Abs": "abs",
    "Sqrt": "sqrt",
    "Exp": "exp",
    "Log": "log",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "Erf": "erf",
    "Floor": "floor",
    "Cos": "cos",
    "Sin": "sin",
    "And": "and",
    "Or": "or",
}
_COMPARISONS = {
    "Greater": "gt",
    "GreaterOrEqual": "ge",
    "Less": "lt",
    "LessOrEqual": "le",
    "Equal": "eq",
}
_TYPES = {1: "f32", 6: "i64", 7: "i64", 9: "i1"}


def constant_of(value: Value | None, what: str) -> np.ndarray | None:
    """What must be known when the plan is made."""
    if value is None or isinstance(value, np.ndarray):
        return value
    raise Unsupported(f"{what} that is computed as it runs")


def axes_of(value: Value | None, rank: int) -> list[int]:
    """Sorted and counted from the left; all where none are given."""
    given = constant_of(value, "axes")
    chosen = range(rank) if given is None else given.ravel().tolist()
    return sorted(int(axis) % rank for axis in chosen)


def attribute(node: ir.Node, name: str, default):
    found = node.attributes.get(name)
    return default if found is None else found.value


# ---- element by element


def _elementwise(name: str) -> Handler:
    return lambda low, node, *inputs: low.apply(name, *inputs)


def _compare(name: str) -> Handler:
    return lambda low, node, a, b: low.apply(name, a, b, dtype="i1")


def _several(name: str) -> Handler:
    def handle(low: Lowering, node: ir.Node, *inputs: Value) -> Value:
        result = inputs[0]
        for other in inputs[1:]:
            result = low.apply(name, result, other)
        return result

    return handle


def _number(value: float, like: Value) -> np.ndarray:
    kind = np.int64 if like.dtype == "i64" else np.float32
    return np.array(value, kind)


def _relu(low: Lowering, node: ir.Node, x: Lazy) -> Value:
    return low.apply("max", x, _number(0, x))


def _leaky(low: Lowering, node: ir.Node, x: Lazy) -> Value:
    return low.apply("leaky", x, np.array([attribute(node, "alpha", 0.01)], np.float32))


def _prelu(low: Lowering, node: ir.Node, x: Lazy, slope: Value) -> Value:
    # Slopes are read from memory, even single ones, so that layers share a kernel.
    view = low.view(slope)
    slope = Lazy(view.shape, Load(view))
    return low.apply("leaky", x, slope)


def _clip(low: Lowering, node: ir.Node, x: Lazy, least=None, most=None) -> Value:
    if least is not None:
        x = low.apply("max", x, least)
    return x if most is None else low.apply("min", x, most)


def _reciprocal(low: Lowering, node: ir.Node, x: Lazy) -> Value:
    return low.apply("div", _number(1, x), x)


def _pow(low: Lowering, node: ir.Node, x: Lazy, exponent: Value) -> Value:
    power = constant_of(exponent, "an exponent")
    if power.size != 1:
        raise Unsupported("powers of different exponents")
    value = float(power.item())
    if value == 2:
        x = low.settled(x) if x.root is not None else x
        return low.apply("mul", x, x)
    if value == 0.5:
        return low.apply("sqrt", x)
    return low.apply("power", x, _number(value, x))


def _cast(low: Lowering, node: ir.Node, x: Lazy) -> Value:
    wanted = _TYPES.get(attribute(node, "to", 1))
    if wanted is None:
        raise Unsupported(f"numbers of ONNX type {attribute(node, 'to', 1)}")
    return x if wanted == x.dtype else low.apply("cast", x, dtype=wanted)


def _not(low: Lowering, node: ir.Node, x: Lazy) -> Value:
    return low.apply("xor", x, np.array(True))


def _mod(low: Lowering, node: ir.Node, x: Lazy, divisor: Value) -> Value:
    if x.dtype != "i64" or (constant_of(divisor, "a divisor") <= 0).any():
        raise Unsupported("a remainder of anything but whole numbers")
    # The remainder as machines have it has the sign of what is divided.
    least = low.settled(low.apply("mod", x, divisor))
    return low.apply("mod", low.apply("add", least, divisor), divisor)


def _where(low: Lowering, node: ir.Node, condition: Value, a: Value, b: Value) -> Value:
    return low.apply("where", condition, a, b, dtype=low.lazy(a).dtype)


def _softmax(low: Lowering, node: ir.Node, x: Lazy) -> Value:
    axis = [attribute(node, "axis", -1) % len(x.shape)]
    x = low.settled(x)
    powers = low.settled(low.apply("exp", low.apply("sub", x, reduced(low, x, "max", axis))))
    return low.apply("div", powers, reduced(low, powers, "sum", axis))


# ---- index maps


def _reshaped(low: Lowering, x: Lazy, shape: tuple[int, ...]) -> Value:
    view = low.view(x)
    found = views.reshape(view, shape)
    if found is None:
        found = views.reshape(low.dense(Lazy(view.shape, Load(view))), shape)
    return Lazy(shape, Load(found))


def _reshape(low: Lowering, node: ir.Node, x: Lazy, shape: Value) -> Value:
    wanted = constant_of(shape, "a shape").ravel().tolist()
    if not attribute(node, "allowzero", 0):
        wanted = [x.shape[i] if size == 0 else size for i, size in enumerate(wanted)]
    if -1 in wanted:
        known = math.prod(size for size in wanted if size != -1)
        wanted[wanted.index(-1)] = math.prod(x.shape) // known
    return _reshaped(low, x, tuple(wanted))


def _flatten(low: Lowering, node: ir.Node, x: Lazy) -> Value:
    axis = attribute(node, "axis", 1) % (len(x.shape) + 1)
    return _reshaped(low, x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


def _transpose(low: Lowering, node: ir.Node, x: Lazy) -> Value:
    order = attribute(node, "perm", tuple(reversed(range(len(x.shape)))))
    shape = tuple(x.shape[axis] for axis in order)
    return low.moved(x, lambda view: views.permute(view, order), shape)


def _unsqueeze(low: Lowering, node: ir.Node, x: Lazy, axes: Value) -> Value:
    rank = len(x.shape) + constant_of(axes, "axes").size
    for axis in axes_of(axes, rank):
        shape = (*x.shape[:axis], 1, *x.shape[axis:])
        x = low.moved(x, lambda view, axis=axis: views.insert(view, axis), shape)
    return x


def _squeeze(low: Lowering, node: ir.Node, x: Lazy, axes: Value | None = None) -> Value:
    ones = [axis for axis, size in enumerate(x.shape) if size == 1]
    chosen = ones if axes is None else axes_of(axes, len(x.shape))
    for axis in reversed(chosen):
        shape = (*x.shape[:axis], *x.shape[axis + 1 :])
        x = low.moved(x, lambda view, axis=axis: views.pick(view, axis, 0), shape)
    return x


def _expand(low: Lowering, node: ir.Node, x: Lazy, shape: Value) -> Value:
    wanted = constant_of(shape, "a shape").ravel().tolist()
    return low.expanded(x, np.broadcast_shapes(x.shape, tuple(wanted)))


def sliced(low: Lowering, x: Value, axis: int, start: int, length: int, step: int = 1) -> Lazy:
    x = low.lazy(x)
    shape = (*x.shape[:axis], length, *x.shape[axis + 1 :])
    return low.moved(x, lambda view: views.cut(view, axis, start, length, step), shape)


def _slice(low, node, x: Lazy, starts: Value, ends: Value, axes=None, steps=None) -> Value:
    starts, ends = constant_of(starts, "a start").ravel(), constant_of(ends, "an end").ravel()
    axes = np.arange(len(starts)) if axes is None else constant_of(axes, "axes").ravel()
    steps = np.ones(len(starts), int) if steps is None else constant_of(steps, "steps").ravel()
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis = int(axis) % len(x.shape)
        chosen = range(x.shape[axis])[slice(int(start), int(end), int(step))]
        if int(step) < 0 and int(end) < -x.shape[axis]:
            chosen = range(x.shape[axis])[slice(int(start), None, int(step))]
        first = chosen[0] if len(chosen) else 0
        x = sliced(low, x, axis, first, len(chosen), int(step))
    return x


def _gather(low: Lowering, node: ir.Node, x: Lazy, indices: Value) -> Value:
    axis = attribute(node, "axis", 0) % len(x.shape)
    chosen = constant_of(indices, "an index")
    size = x.shape[axis]
    if chosen.ndim == 0:
        shape = (*x.shape[:axis], *x.shape[axis + 1 :])
        return low.moved(x, lambda view: views.pick(view, axis, int(chosen) % size), shape)
    if chosen.ndim != 1:
        raise Unsupported("a gather of several axes")
    positions = (chosen % size).tolist()
    steps = set(np.diff(positions).tolist()) or {1}
    if len(steps) == 1:
        return sliced(low, x, axis, positions[0], len(positions), steps.pop())
    x = low.settled(low.lazy(x))
    return joined(low, [sliced(low, x, axis, position, 1) for position in positions], axis)


def _split(low: Lowering, node: ir.Node, x: Lazy, sizes: Value | None = None) -> list[Value]:
    axis = attribute(node, "axis", 0) % len(x.shape)
    if sizes is None:
        parts, size = len(node.outputs), x.shape[axis]
        each = -(-size // parts)
        lengths = [min(each, size - each * i) for i in range(parts)]
    else:
        lengths = constant_of(sizes, "sizes").ravel().tolist()
    x, pieces, start = low.settled(low.lazy(x)), [], 0
    for length in lengths:
        pieces.append(sliced(low, x, axis, start, length))
        start += length
    return pieces


def joined(low: Lowering, pieces: list[Value], axis: int) -> Value:
    """One after the other in new memory; what is computed only for this is computed there."""
    pieces = [low.lazy(piece) for piece in pieces]
    pieces = [piece for piece in pieces if piece.shape[axis]]
    if len(pieces) == 1:
        return pieces[0]
    shape = list(pieces[0].shape)
    shape[axis] = sum(piece.shape[axis] for piece in pieces)
    out, start = low.scratch(shape, pieces[0].dtype), 0
    for piece in pieces:
        low.store(piece, views.cut(out, axis, start, piece.shape[axis]))
        start += piece.shape[axis]
    return Lazy(out.shape, Load(out))


def _concat(low: Lowering, node: ir.Node, *pieces: Value) -> Value:
    return joined(low, list(pieces), attribute(node, "axis", 0) % len(pieces[0].shape))


def padded(low: Lowering, x: Value, widths: list[tuple[int, int]], fill: float = 0.0) -> Lazy:
    """With (before, after) more of `fill` along each axis."""
    x = low.lazy(x)
    for axis, (before, after) in enumerate(widths):
        if not before and not after:
            continue
        pieces: list[Value] = [x]
        for length, place in ((before, 0), (after, len(pieces))):
            if length:
                shape = (*x.shape[:axis], length, *x.shape[axis + 1 :])
                edge = low.expanded(_number(fill, x), shape)
                pieces.insert(0 if place == 0 else len(pieces), edge)
        x = joined(low, pieces, axis)
    return x


def _pad(low: Lowering, node: ir.Node, x: Lazy, pads: Value, fill=None, axes=None) -> Value:
    amounts = constant_of(pads, "a padding").ravel().tolist()
    mode = attribute(node, "mode", "constant")
    if mode != "constant" or min(amounts) < 0:
        raise Unsupported(f"padding of mode {mode}")
    chosen = axes_of(axes, len(x.shape)) if axes is not None else list(range(len(x.shape)))
    widths = [(0, 0)] * len(x.shape)
    for i, axis in enumerate(chosen):
        widths[axis] = (int(amounts[i]), int(amounts[i + len(chosen)]))
    value = 0.0 if fill is None else float(constant_of(fill, "a fill").item())
    return padded(low, x, widths, value)


def _shape(low: Lowering, node: ir.Node, x: Lazy) -> Value:
    start, end = attribute(node, "start", 0), attribute(node, "end", None)
    return np.array(x.shape[start:end], np.int64)


# ---- along axes


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
            x = _pow(low, node, x, np.array(2.0, np.float32))
        result = reduced(low, x, "sum" if kind in ("mean", "l2") else kind, chosen, keep)
        if kind == "mean":
            count = math.prod(x.shape[axis] for axis in chosen)
            return low.apply("mul", result, _number(1 / count, result))
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


OPERATORS: dict[str, Handler] = {
    **{name: _elementwise(ours) for name, ours in _ELEMENTWISE.items()},
    **{name: _compare(ours) for name, ours in _COMPARISONS.items()},
    "Max": _several("max"),
    "Min": _several("min"),
    "Sum": _several("add"),
    "Relu": _relu,
    "LeakyRelu": _leaky,
    "PRelu": _prelu,
    "Clip": _clip,
    "Reciprocal": _reciprocal,
    "Pow": _pow,
    "Cast": _cast,
    "Where": _where,
    "Not": _not,
    "Mod": _mod,
    "Softmax": _softmax,
    "Identity": lambda low, node, x: x,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Expand": _expand,
    "Slice": _slice,
    "Gather": _gather,
    "Split": _split,
    "Concat": _concat,
    "Pad": _pad,
    "Shape": _shape,
    "ReduceSum": _reduce("sum"),
    "ReduceMean": _reduce("mean"),
    "ReduceMax": _reduce("max"),
    "ReduceMin": _reduce("min"),
    "ReduceL2": _reduce("l2"),
    "LayerNormalization": _layer_norm,
    "CumSum": _cumulative,
}
