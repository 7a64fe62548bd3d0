"""A step as a short list of operations on views of buffers: what lowering gives, and kernels run.

`print(plan)` shows it, one line for each operation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

SIZES = {"f32": 4, "bf16": 2, "i8": 1, "i64": 8, "i1": 1}
NUMPY = {"f32": np.float32, "i64": np.int64, "i1": np.bool_}


class Unsupported(Exception):
    """What of a model this engine has no form for, in a few words."""


@dataclass(eq=False)
class Buffer:
    """Memory for `size` elements. `kind` says who fills it and how long it lives.

    "scratch" lives within a step; "state" and "ring" from step to step; "mixture" and "stems" are
    the sound; "constant" holds `content`, "weight" a product's, of shape (k, n).
    """

    name: str
    kind: str
    dtype: str
    size: int
    content: np.ndarray | None = None
    # A ring's: frames in one turn and per step, elements per frame. Views of it start from where
    # the turn is, within each row of the batch.
    turn: int = 0
    step: int = 0
    frame: int = 0

    @property
    def bytes(self) -> int:
        return self.size * SIZES[self.dtype]


@dataclass(frozen=True)
class View:
    """Elements of a buffer: `offset + sum(index * stride)`, all in elements."""

    buffer: Buffer
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def dtype(self) -> str:
        return self.buffer.dtype

    def __str__(self) -> str:
        where = f"+{self.offset}" if self.offset else ""
        return f"{self.buffer.name}{where}{list(self.shape)}"


@dataclass(frozen=True)
class Load:
    """An element of a view, at the position that is computed."""

    view: View

    @property
    def dtype(self) -> str:
        return self.view.dtype


@dataclass(frozen=True)
class Scalar:
    value: float | int | bool
    dtype: str


@dataclass(frozen=True)
class Result:
    """What the operation that an expression follows has computed at this position."""

    dtype: str = "f32"


@dataclass(frozen=True)
class Apply:
    """A function of expressions; the names are those of `functions.py`."""

    name: str
    inputs: tuple[Expression, ...]
    dtype: str


Expression = Load | Scalar | Result | Apply


@dataclass(frozen=True)
class Map:
    """`out = expression`, everywhere."""

    out: View
    expression: Expression


@dataclass(frozen=True)
class Product:
    """`out = expression(rows @ weight)`: (m, k) rows, a packed (k, n) weight, an (m, n) output.

    The weight is float32 or bfloat16, as may be the rows then, and sums are float32; or both are
    whole numbers of 8 bits, multiplied and summed exactly, and what follows scales the result.
    """

    out: View
    rows: View
    weight: Buffer
    expression: Expression


@dataclass(frozen=True)
class Quantise:
    """`out = round(source / scales) + 128`, (m, k) in 8 bits; a row's largest value is 127 scales.

    `scales` is (m,), found anew in each step.
    """

    out: View
    scales: View
    source: View


@dataclass(frozen=True)
class Narrow:
    """`out = source`, (m, k), rounded to bfloat16."""

    out: View
    source: View


@dataclass(frozen=True)
class Norm:
    """`out = expression((source - mean) / sqrt(variance + eps))`, both over the last axis."""

    out: View
    source: Expression
    eps: float
    expression: Expression


@dataclass(frozen=True)
class Reduce:
    """`out = kind(source over axes)`; the source's shape is that of `out` with the axes last."""

    out: View
    kind: str
    source: Expression
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Scan:
    """`out[..., i] = sum(source[..., : i + 1])`."""

    out: View
    source: View


@dataclass(frozen=True)
class Gather:
    """`out[.., i, ..] = source[.., indices[.., i, ..], ..]` along an axis; all else is in place.

    Indices, of `out`'s shape, count from the end where they are negative.
    """

    out: View
    source: View
    indices: View
    axis: int


Operation = Map | Product | Quantise | Narrow | Norm | Reduce | Scan | Gather


@dataclass(frozen=True)
class StateLeaf:
    """Where a leaf of the state lies. `shape` has the batch first; `fresh` as in `Leaf`."""

    buffer: Buffer
    shape: tuple[int, ...]
    fresh: float | int | list


@dataclass
class Plan:
    operations: list[Operation] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)
    leaves: list[StateLeaf] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join(describe(operation) for operation in self.operations)


def describe(operation: Operation) -> str:
    """One line: what is written, and from what."""
    out = f"{operation.out} ="
    match operation:
        case Map():
            return f"{out} {text(operation.expression)}"
        case Product():
            product = f"{operation.rows} @ {operation.weight.name}"
            return f"{out} {text(operation.expression, product)}"
        case Quantise():
            return f"{out} {operation.source} in steps of {operation.scales}"
        case Narrow():
            return f"{out} {operation.source} in bfloat16"
        case Norm():
            norm = f"norm({text(operation.source)})"
            return f"{out} {text(operation.expression, norm)}"
        case Reduce():
            return f"{out} {operation.kind}{list(operation.sizes)}({text(operation.source)})"
        case Scan():
            return f"{out} cumulative({operation.source})"
        case Gather():
            return f"{out} {operation.source} at {operation.indices} along {operation.axis}"


def text(expression: Expression, result: str = "?") -> str:
    match expression:
        case Load():
            return str(expression.view)
        case Scalar():
            return f"{expression.value:g}"
        case Result():
            return result
        case Apply():
            inputs = ", ".join(text(part, result) for part in expression.inputs)
            return f"{expression.name}({inputs})"


def loads(*expressions: Expression) -> list[View]:
    """All views that are read, each once, in order."""
    found: dict[View, None] = {}
    for expression in expressions:
        for part in parts(expression):
            if isinstance(part, Load):
                found[part.view] = None
    return list(found)


def parts(expression: Expression) -> Iterator[Expression]:
    yield expression
    for part in getattr(expression, "inputs", ()):
        yield from parts(part)


def replaced(expression: Expression, change: Callable[[Expression], Expression]) -> Expression:
    """The expression with `change` applied to all that it is made of, leaves first."""
    if isinstance(expression, Apply):
        inputs = tuple(replaced(part, change) for part in expression.inputs)
        expression = Apply(expression.name, inputs, expression.dtype)
    return change(expression)


def writes(operation: Operation) -> list[View]:
    if isinstance(operation, Quantise):
        return [operation.out, operation.scales]
    return [operation.out]


def reads(operation: Operation) -> list[View]:
    match operation:
        case Quantise() | Narrow():
            return [operation.source]
        case Map():
            return loads(operation.expression)
        case Product():
            return [operation.rows, *loads(operation.expression)]
        case Norm():
            return loads(operation.source, operation.expression)
        case Reduce():
            return loads(operation.source)
        case Scan():
            return [operation.source]
        case Gather():
            return [operation.source, operation.indices]


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a dense array."""
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))
