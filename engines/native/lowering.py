"""From the exported graph to a plan.

Nodes are taken in order. What is computed element by element is not computed at once: its
expression is kept until something needs it in memory, so that chains end in one loop, or in the
loop of the product or norm that they follow. Reshapes, slices and the like become index maps.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from rtsep.engines.native import views
from rtsep.engines.native.plan import (
    NUMPY,
    Apply,
    Buffer,
    Expression,
    Gather,
    Load,
    Map,
    Narrow,
    Norm,
    Plan,
    Product,
    Quantise,
    Reduce,
    Result,
    Scalar,
    Scan,
    Unsupported,
    View,
    contiguous,
    parts,
    replaced,
)
from rtsep.engines.state import Leaf

# An expression of more parts than this is stored: its loop would hold too many registers.
_LONGEST = 48
# Weights of fewer elements than this are read fast enough as they are.
_SMALL = 4096
# Fewer rows than this wait for the weights, whatever they are multiplied with.
_ENOUGH = 4


@dataclass(frozen=True)
class Lazy:
    """A value that is known as an expression. All views in it have its shape.

    `root` is the product or norm that the expression's `Result` stands for, not emitted yet.
    """

    shape: tuple[int, ...]
    expression: Expression
    root: Product | Norm | None = None

    @property
    def dtype(self) -> str:
        return self.expression.dtype


Value = Lazy | np.ndarray
_NOWHERE = Buffer("nowhere", "scratch", "f32", 0)


def lower(
    model: ir.Model, leaves: list[Leaf], *, weights: str = "f32", pairs: bool = False
) -> Plan:
    """`weights` are those of all but small products: "f32", "bf16", or "i8", whose rows are too.

    With `pairs` the processor multiplies bfloat16 with bfloat16: rows become that where they are
    enough for it to pay.

    The first products after the sound and the last two before it (transforms, or what takes their
    place, and masks) stay in bfloat16 where the others are whole numbers: their rounding is heard
    as it is. On the shipped model that makes 34 dB of 29.

    Raises `Unsupported` for what has no form here.
    """
    from rtsep.engines.native.ends import ends
    from rtsep.engines.native.operators import OPERATORS, WEIGHTED
    from rtsep.engines.native.states import States

    graph = model.graph
    lowering = Lowering(graph, weights, pairs)
    states = States(lowering, graph, leaves)
    exact = ends(graph, WEIGHTED) if weights == "i8" else set()
    for node in graph:
        lowering.at_an_end = node in exact
        if states.takes(node):
            continue
        inputs = [None if value is None else lowering.values[value] for value in node.inputs]
        if all(value is None or isinstance(value, np.ndarray) for value in inputs):
            outputs = _fold(node, inputs)
        elif node.op_type in OPERATORS:
            outputs = OPERATORS[node.op_type](lowering, node, *inputs)
        else:
            raise Unsupported(f"operation {node.op_type}")
        outputs = outputs if isinstance(outputs, list) else [outputs]
        for value, output in zip(node.outputs, outputs, strict=False):
            lowering.keep(value, output)
    stems = graph.outputs[0]
    shape = tuple(stems.shape)
    buffer = lowering.buffer("stems", "stems", "f32", math.prod(shape))
    lowering.store(lowering.values[stems], View(buffer, 0, shape, contiguous(shape)))
    states.finish()
    return lowering.plan


class Lowering:
    """The plan so far, and all values by the graph's own."""

    def __init__(self, graph: ir.Graph, weights: str, pairs: bool) -> None:
        self.plan = Plan()
        self._weights, self._pairs = weights, pairs
        self.at_an_end = False
        self.values: dict[ir.Value, Value] = {}
        self._constants: dict[int, tuple[np.ndarray, View]] = {}
        self._packed: dict[tuple[int, int, bool], tuple[np.ndarray, Buffer]] = {}
        self._narrowed: dict[View, View] = {}
        self._quantised: dict[View, tuple[View, View]] = {}
        self._uses = Counter(value for node in graph for value in node.inputs if value is not None)
        self._uses.update(graph.outputs)
        for value in graph.initializers.values():
            self.values[value] = value.const_value.numpy()

    def keep(self, value: ir.Value, output: Value) -> None:
        """Under the graph's name; stored at once where more than one node reads it."""
        if isinstance(output, Lazy) and self._uses[value] > 1:
            output = self.settled(output)
        self.values[value] = output

    def view(self, value: Value) -> View:
        """Where a value lies, computed now if it was not yet."""
        if isinstance(value, np.ndarray):
            return self.constant(value)
        if isinstance(value.expression, Load):
            return value.expression.view
        return self.store(value, self.scratch(value.shape, value.dtype))

    def settled(self, value: Lazy) -> Lazy:
        """The same as a load."""
        return Lazy(value.shape, Load(self.view(value)))

    def store(self, value: Value, out: View) -> View:
        """Computed into `out`, whose shape it has."""
        value = self.lazy(value)
        expression, root = value.expression, value.root
        if root is None:
            self.plan.operations.append(Map(out, expression))
        elif isinstance(root, Norm):
            self.plan.operations.append(replace(root, out=out, expression=expression))
        elif (product := _in_rows(root, out, expression)) is not None:
            self.plan.operations.append(product)
        else:
            # A ring or another's slice: the rows of a batch do not follow one another there.
            plain = self.scratch(value.shape, "f32")
            rows = views.reshape(plain, root.out.shape)
            self.plan.operations.append(replace(root, out=rows, expression=Result()))
            self.plan.operations.append(Map(out, _with_result(expression, Load(plain))))
        return out

    def dense(self, value: Value) -> View:
        """A view in which each element follows the one before."""
        view = self.view(value)
        if view.strides[-1:] in ((), (1,)) and len(_runs(view)) <= 1:
            return view
        out = self.scratch(view.shape, view.dtype)
        self.plan.operations.append(Map(out, Load(view)))
        return out

    def lazy(self, value: Value) -> Lazy:
        if isinstance(value, Lazy):
            return value
        if value.size == 1:
            return Lazy(value.shape, Scalar(value.item(), _kind(value.dtype)))
        return Lazy(value.shape, Load(self.constant(value)))

    def constant(self, value: np.ndarray) -> View:
        """In memory, once for each array."""
        if id(value) not in self._constants:
            content = np.ascontiguousarray(value, NUMPY[_kind(value.dtype)])
            view = self.weights(f"c{len(self._constants)}", content)
            self._constants[id(value)] = value, view
        return self._constants[id(value)][1]

    def weights(self, name: str, content: np.ndarray) -> View:
        dtype = _kind(content.dtype)
        buffer = self.buffer(name, "constant", dtype, content.size, content)
        return View(buffer, 0, content.shape, contiguous(content.shape))

    def scratch(self, shape: Sequence[int], dtype: str) -> View:
        shape = tuple(shape)
        buffer = self.buffer(f"t{len(self.plan.buffers)}", "scratch", dtype, math.prod(shape))
        return View(buffer, 0, shape, contiguous(shape))

    def like(self, view: View) -> View:
        return self.scratch(view.shape, view.dtype)

    def nowhere(self, shape: Sequence[int]) -> View:
        """For an operation that is not placed yet."""
        return View(_NOWHERE, 0, tuple(shape), contiguous(tuple(shape)))

    def packed(self, weight: np.ndarray, rows: int) -> Buffer:
        """A product's weight, (k, n), for that many rows; `packing.py` decides how it lies."""
        key = id(weight), rows, self.at_an_end
        if key not in self._packed:
            content = np.ascontiguousarray(weight, np.float32)
            kind = "f32"
            if self.reduces(weight) and len(content) % 2 == 0:
                kind = "bf16" if self.at_an_end else self._weights
            name = f"w{len(self._packed)}{list(weight.shape)}"
            buffer = self.buffer(name, "weight", kind, content.size, content)
            self._packed[key] = weight, buffer
        return self._packed[key][1]

    def reduces(self, weight: np.ndarray) -> bool:
        """Whether a product's weight is kept in less than float32."""
        return self._weights != "f32" and weight.size >= _SMALL

    def quantised(self, rows: View) -> tuple[View, View]:
        """(m, k) rows in 8 bits, k filled up to whole dots, and their scales; each view once."""
        if rows not in self._quantised:
            m, k = rows.shape
            wide = -(-k // 4) * 4
            out = self.scratch((m, wide), "i8")
            scales = self.scratch((m,), "f32")
            self.plan.operations.append(Quantise(views.cut(out, 1, 0, k), scales, rows))
            self._quantised[rows] = out, scales
        return self._quantised[rows]

    def narrowed(self, rows: View) -> View:
        """(m, k) rows in bfloat16, each view once; the rows themselves where that doesn't pay."""
        if not self._pairs or rows.shape[0] < _ENOUGH:
            return rows
        if rows not in self._narrowed:
            out = self.scratch(rows.shape, "bf16")
            self.plan.operations.append(Narrow(out, rows))
            self._narrowed[rows] = out
        return self._narrowed[rows]

    def buffer(
        self, name: str, kind: str, dtype: str, size: int, content: np.ndarray | None = None
    ) -> Buffer:
        buffer = Buffer(name, kind, dtype, size, content)
        self.plan.buffers.append(buffer)
        return buffer

    def expanded(self, value: Value, shape: Sequence[int]) -> Lazy:
        """Stretched to a shape, as an expression still."""
        value = self.lazy(value)
        if value.shape == tuple(shape):
            return value
        if value.root is not None:
            value = self.settled(value)
        return self.moved(value, lambda view: views.expand(view, shape), shape)

    def moved(self, value: Value, move, shape: Sequence[int]) -> Lazy:
        """With each of its views through an index map that gives `shape`."""
        value = self.lazy(value)
        if value.root is not None:
            value = self.settled(value)

        def change(part: Expression) -> Expression:
            return Load(move(part.view)) if isinstance(part, Load) else part

        return Lazy(tuple(shape), replaced(value.expression, change))

    def apply(self, name: str, *values: Value, dtype: str | None = None) -> Lazy:
        """A function of values, element by element, stretched to one shape."""
        shape = np.broadcast_shapes(*(value.shape for value in values))
        inputs = [self.expanded(value, shape) for value in values]
        rooted = [i for i, value in enumerate(inputs) if value.root is not None]
        # One loop computes one product or norm: the others are stored, in order.
        for i in rooted[:-1]:
            inputs[i] = self.settled(inputs[i])
        if sum(1 for value in inputs for _ in parts(value.expression)) > _LONGEST:
            inputs = [self.settled(v) if isinstance(v.expression, Apply) else v for v in inputs]
            rooted = []
        root = inputs[rooted[-1]].root if rooted else None
        expressions = tuple(value.expression for value in inputs)
        return Lazy(shape, Apply(name, expressions, dtype or inputs[0].dtype), root)

    def lazy_load(self, view: View) -> Lazy:
        return Lazy(view.shape, Load(view))

    def emit(self, operation: Reduce | Scan | Gather | Map | Product | Norm) -> Lazy:
        self.plan.operations.append(operation)
        return Lazy(operation.out.shape, Load(operation.out))


def _in_rows(root: Product, out: View, expression: Expression) -> Product | None:
    """The product with its expression, all in two axes; None where an operand can't be."""
    shape = root.out.shape

    def flat(view: View) -> View:
        rows = views.as_rows(view)
        if rows is None or view.strides[-1] not in (0, 1):
            raise _NoRows
        strides = (rows[1], view.strides[-1])
        return View(view.buffer, view.offset, shape, strides)

    def change(part: Expression) -> Expression:
        return Load(flat(part.view)) if isinstance(part, Load) else part

    try:
        flattened = flat(out)
        if flattened.strides[1] != 1 and shape[1] > 1:
            return None
        return replace(root, out=flattened, expression=replaced(expression, change))
    except _NoRows:
        return None


class _NoRows(Exception):
    pass


def _with_result(expression: Expression, result: Expression) -> Expression:
    return replaced(expression, lambda part: result if isinstance(part, Result) else part)


def _runs(view: View) -> list[tuple[int, int]]:
    return views.merged(list(zip(view.shape, view.strides, strict=True)))


def _kind(dtype: np.dtype) -> str:
    for name, known in NUMPY.items():
        if np.dtype(dtype) == known:
            return name
    if np.issubdtype(dtype, np.integer):
        return "i64"
    raise Unsupported(f"numbers of type {dtype}")


def _fold(node: ir.Node, inputs: list[np.ndarray | None]) -> list[np.ndarray]:
    """What a node makes of constants, by the operators' own reference."""
    from onnx.reference import ReferenceEvaluator

    proto = ir.to_proto(node)
    names = [name for name in proto.input if name]
    import onnx

    typed = [
        onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
        )
        for name, value in zip(names, (value for value in inputs if value is not None), strict=True)
    ]
    untyped = [onnx.ValueInfoProto(name=name) for name in proto.output]
    graph = onnx.helper.make_graph([proto], "constant", typed, untyped)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    given = dict(zip(names, (value for value in inputs if value is not None), strict=True))
    return [np.asarray(value) for value in ReferenceEvaluator(model).run(None, given)]
