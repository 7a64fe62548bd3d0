"""Products with constant weights, and what becomes one: convolutions, recurrences."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from rtsep.engines.native import views
from rtsep.engines.native.indexing import padded, sliced
from rtsep.engines.native.lowering import Lazy, Lowering, Value
from rtsep.engines.native.nodes import attribute, constant_of
from rtsep.engines.native.packing import column_scales
from rtsep.engines.native.plan import Load, Product, Result, Unsupported
from rtsep.engines.native.reductions import reduced


def product(low: Lowering, x: Value, weight: np.ndarray) -> Lazy:
    """(..., k) times a constant (k, n), to be computed together with what follows it."""
    k, n = weight.shape
    if k % 2 and low.reduces(weight):
        # An odd line is added for itself: weights lie in pairs there, and the line that keeps a
        # recurrence from starting early has weights beside which all others would round to 0.
        x = low.settled(low.lazy(x))
        last = sliced(low, x, len(x.shape) - 1, k - 1, 1)
        y = product(low, sliced(low, x, len(x.shape) - 1, 0, k - 1), weight[:-1])
        return low.apply("add", y, low.apply("mul", last, weight[-1]))
    view = low.view(x)
    shape = (*view.shape[:-1], weight.shape[1])
    rows = views.as_rows(view)
    if rows is None or (view.strides[-1] != 1 and view.shape[-1] > 1):
        view = low.dense(Lazy(view.shape, Load(view)))
        rows = views.as_rows(view)
    flat = views.View(view.buffer, view.offset, (rows[0], view.shape[-1]), (rows[1], 1))
    packed = low.packed(weight, rows[0])
    nowhere = low.nowhere((rows[0], shape[-1]))
    if packed.dtype == "bf16":
        flat = low.narrowed(flat)
    if packed.dtype != "i8":
        return Lazy(shape, Result(), Product(nowhere, flat, packed, Result()))
    whole, scales = low.quantised(flat)
    y = Lazy(shape, Result(), Product(nowhere, whole, packed, Result()))
    each = views.reshape(scales, (*shape[:-1], 1))
    y = low.apply("mul", y, Lazy(each.shape, Load(each)))
    return low.apply("mul", y, column_scales(packed.content))


def matmul(low: Lowering, node: ir.Node, a: Value, b: Value) -> Value:
    if len(a.shape) < 2 or len(b.shape) < 2:
        raise Unsupported("a product with a vector")
    if isinstance(b, np.ndarray):
        if math.prod(b.shape[:-2]) == 1 and b.ndim <= len(a.shape):
            return product(low, a, b.reshape(b.shape[-2:]))
        return _several(low, low.lazy(a), b)
    if isinstance(a, np.ndarray) and math.prod(a.shape[:-2]) == 1 and a.ndim <= len(b.shape):
        # Of the transposed, which swaps the two.
        weight = np.ascontiguousarray(a.reshape(a.shape[-2:]).T)
        return _swapped(low, product(low, _swapped(low, b), weight))
    return _free_product(low, a, b)


def _swapped(low: Lowering, x: Value) -> Lazy:
    x = low.lazy(x)
    rank = len(x.shape)
    order = (*range(rank - 2), rank - 1, rank - 2)
    shape = tuple(x.shape[axis] for axis in order)
    return low.moved(x, lambda view: views.permute(view, order), shape)


def _several(low: Lowering, x: Lazy, weights: np.ndarray) -> Lazy:
    """(..., m, k) times constants (..., k, n): a product for each of them."""
    outer = np.broadcast_shapes(x.shape[:-2], weights.shape[:-2])
    x = low.settled(low.expanded(x, (*outer, *x.shape[-2:])))
    weights = np.broadcast_to(weights, (*outer, *weights.shape[-2:]))
    out = low.scratch((*outer, x.shape[-2], weights.shape[-1]), "f32")
    for index in np.ndindex(outer):
        rows, place = low.view(x), out
        for position in index:
            rows, place = views.pick(rows, 0, position), views.pick(place, 0, position)
        low.store(product(low, Lazy(rows.shape, Load(rows)), weights[index]), place)
    return Lazy(out.shape, Load(out))


def _free_product(low: Lowering, a: Value, b: Value) -> Lazy:
    """Of two values that are both computed: sums of products, for the few that are small."""
    a, b = (low.settled(low.lazy(value)) for value in (a, b))
    m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
    outer = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a = low.moved(a, lambda view: views.insert(view, len(view.shape) - 1), (*a.shape[:-1], 1, k))
    swap = (*range(len(b.shape) - 2), len(b.shape) - 1, len(b.shape) - 2)
    b = low.moved(b, lambda view: views.permute(view, swap), (*b.shape[:-2], n, k))
    b = low.moved(b, lambda view: views.insert(view, len(view.shape) - 2), (*b.shape[:-2], 1, n, k))
    whole = (*outer, m, n, k)
    terms = low.apply("mul", low.expanded(a, whole), low.expanded(b, whole))
    return reduced(low, terms, "sum", [len(whole) - 1], keep=False)


def gemm(low: Lowering, node: ir.Node, a: Value, b: Value, c: Value | None = None) -> Value:
    if attribute(node, "transA", 0) or attribute(node, "alpha", 1.0) != 1.0:
        raise Unsupported("a Gemm that scales or transposes its rows")
    weight = constant_of(b, "a Gemm's weight")
    y = product(low, a, weight.T if attribute(node, "transB", 0) else weight)
    if c is None:
        return y
    if attribute(node, "beta", 1.0) != 1.0:
        raise Unsupported("a Gemm that scales its sum")
    return low.apply("add", y, c)


def conv(low: Lowering, node: ir.Node, x: Lazy, weight: Value, bias: Value | None = None) -> Value:
    """(batch, channels, *space): windows, channels last, times the weight."""
    weight = constant_of(weight, "a convolution's weight")
    outputs, inputs, *kernel = weight.shape
    space, groups = len(kernel), attribute(node, "group", 1)
    strides = attribute(node, "strides", (1,) * space)
    dilations = attribute(node, "dilations", (1,) * space)
    pads = _pads(node, space)
    x = low.settled(padded(low, x, [(0, 0), (0, 0), *pads]))
    view = low.view(x)
    counts = [
        (size - (k - 1) * d - 1) // s + 1
        for size, k, d, s in zip(view.shape[2:], kernel, dilations, strides, strict=True)
    ]
    windows = _windows(view, counts, kernel, strides, dilations)
    if groups == 1:
        order = (2 + space + i for i in range(space))
        matrix = weight.transpose(*range(2, 2 + space), 1, 0).reshape(-1, outputs)
        # (batch, *counts, *kernel, channels)
        windows = views.permute(windows, (0, *range(2, 2 + space), *order, 1))
        rows = _one_row_each(low, windows, 1 + space)
        y = product(low, rows, np.ascontiguousarray(matrix))
    elif groups == view.shape[1] == outputs and inputs == 1:
        terms = low.apply(
            "mul",
            Lazy(windows.shape, Load(windows)),
            weight.reshape(1, outputs, *(1,) * space, *kernel),
        )
        y = reduced(low, terms, "sum", list(range(2 + space, 2 + 2 * space)), keep=False)
        last = (0, *range(2, 2 + space), 1)
        y = low.moved(y, lambda v: views.permute(v, last), tuple(y.shape[i] for i in last))
    else:
        raise Unsupported(f"a convolution of {groups} groups")
    if bias is not None:
        y = low.apply("add", y, bias)
    first = (0, 1 + space, *range(1, 1 + space))
    return low.moved(y, lambda v: views.permute(v, first), tuple(y.shape[i] for i in first))


def _pads(node: ir.Node, space: int) -> list[tuple[int, int]]:
    if attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise Unsupported("a convolution that pads by itself")
    pads = attribute(node, "pads", (0,) * 2 * space)
    return [(pads[i], pads[i + space]) for i in range(space)]


def _windows(view, counts, kernel, strides, dilations):
    """(batch, channels, *counts, *kernel), all of them overlapping in place."""
    steps = view.strides[2:]
    return views.View(
        view.buffer,
        view.offset,
        (*view.shape[:2], *counts, *kernel),
        (
            *view.strides[:2],
            *(step * stride for step, stride in zip(steps, strides, strict=True)),
            *(step * dilation for step, dilation in zip(steps, dilations, strict=True)),
        ),
    )


def _one_row_each(low: Lowering, view, outer: int) -> Lazy:
    """The axes from `outer` on as one: a view where they are a run, else a copy."""
    shape = (*view.shape[:outer], math.prod(view.shape[outer:]))
    found = views.reshape(view, shape)
    if found is None:
        found = views.reshape(low.store(Lazy(view.shape, Load(view)), low.like(view)), shape)
    return Lazy(shape, Load(found))


def conv_transpose(
    low: Lowering, node: ir.Node, x: Lazy, weight: Value, bias: Value | None = None
) -> Value:
    """Each position times the weight, its window added to those of its neighbours."""
    weight = constant_of(weight, "a convolution's weight")
    inputs, outputs, *kernel = weight.shape
    space = len(kernel)
    if attribute(node, "group", 1) != 1 or set(attribute(node, "dilations", (1,))) != {1}:
        raise Unsupported("a transposed convolution of groups or dilations")
    if any(attribute(node, "output_padding", (0,))) or "output_shape" in node.attributes:
        raise Unsupported("a transposed convolution that is padded at its end")
    strides = attribute(node, "strides", (1,) * space)
    pads = _pads(node, space)
    last = (0, *range(2, 2 + space), 1)
    rows = low.moved(x, lambda v: views.permute(v, last), tuple(x.shape[i] for i in last))
    # (inputs, *kernel, outputs)
    matrix = weight.transpose(0, *range(2, 2 + space), 1).reshape(inputs, -1)
    y = low.settled(product(low, rows, np.ascontiguousarray(matrix)))
    whole = (*y.shape[:-1], *kernel, outputs)
    y = Lazy(whole, Load(views.reshape(low.view(y), whole)))
    for axis in range(space):
        y = _overlapped(low, y, 1 + axis, 1 + space, strides[axis])
    if bias is not None:
        y = low.apply("add", y, bias)
    for axis, (before, after) in enumerate(pads):
        if before or after:
            size = y.shape[1 + axis] - before - after
            y = sliced(low, y, 1 + axis, before, size)
    first = (0, 1 + space, *range(1, 1 + space))
    return low.moved(y, lambda v: views.permute(v, first), tuple(y.shape[i] for i in first))


def _overlapped(low: Lowering, x: Lazy, axis: int, kernel: int, stride: int) -> Lazy:
    """Windows (axis `kernel`) `stride` apart (axis `axis`) summed; the axis `kernel` goes."""
    count, width = x.shape[axis], x.shape[kernel]
    parts = -(-width // stride)
    length = (count - 1) * stride + width
    widths = [(0, 0)] * len(x.shape)
    widths[kernel] = (0, parts * stride - width)
    x = low.settled(padded(low, x, widths))
    total = None
    for part in range(parts):
        # (..., count, stride, ...): this part of every window, as samples in a row.
        piece = sliced(low, x, kernel, part * stride, stride)
        order = [i for i in range(len(piece.shape)) if i != kernel]
        order.insert(order.index(axis) + 1, kernel)
        shape = tuple(piece.shape[i] for i in order)
        piece = low.moved(piece, lambda v, order=order: views.permute(v, order), shape)
        widths = [(0, 0)] * len(shape)
        widths[axis] = (part, parts - 1 - part)
        piece = padded(low, piece, widths)
        total = piece if total is None else low.apply("add", total, piece)
    total = low.settled(total)
    merged = list(total.shape)
    merged[axis : axis + 2] = [merged[axis] * merged[axis + 1]]
    view = views.reshape(low.dense(total), merged)
    return sliced(low, Lazy(tuple(merged), Load(view)), axis, 0, length)


PRODUCTS = {
    "MatMul": matmul,
    "Gemm": gemm,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
}
