"""Operators that move nothing, or join what lies apart: index maps."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from rtsep.engines.native import views
from rtsep.engines.native.lowering import Lazy, Lowering, Value
from rtsep.engines.native.nodes import Handler, attribute, axes_of, constant_of, number
from rtsep.engines.native.plan import Gather, Load, Unsupported


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


def _gather_elements(low: Lowering, node: ir.Node, x: Value, indices: Value) -> Value:
    axis = attribute(node, "axis", 0) % len(x.shape)
    source, chosen = low.view(x), low.view(indices)
    out = low.scratch(chosen.shape, source.dtype)
    return low.emit(Gather(out, source, chosen, axis))


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
                edge = low.expanded(number(fill, x), shape)
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


INDEXING: dict[str, Handler] = {
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Expand": _expand,
    "Slice": _slice,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "Split": _split,
    "Concat": _concat,
    "Pad": _pad,
    "Shape": _shape,
}
