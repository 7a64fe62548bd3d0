"""Machine code for each kind of operation: functions of pointers, the sizes built in."""

from __future__ import annotations

from dataclasses import dataclass

from rtsep.engines.native import functions
from rtsep.engines.native.code import REGISTER, Code, vector
from rtsep.engines.native.loops import along, nest, space
from rtsep.engines.native.plan import (
    Apply,
    Expression,
    Gather,
    Load,
    Map,
    Narrow,
    Norm,
    Operation,
    Quantise,
    Reduce,
    Scalar,
    Scan,
    View,
    loads,
)
from rtsep.engines.native.processor import Processor

# As many sums as an addition takes cycles.
_STRANDS = 4


@dataclass(frozen=True)
class Kernel:
    """A function's text, its name left out, and the views whose addresses it takes, in order."""

    body: str
    views: tuple[View, ...]
    intrinsics: tuple[str, ...]


def kernel(code: Code, views: list[View]) -> Kernel:
    pointers = ", ".join(["ptr noalias %p0", *(f"ptr %p{i}" for i in range(1, len(views)))])
    lines = [f"({pointers}) #0 {{", "entry:", *code.lines, "  ret void", "}"]
    return Kernel("\n".join(lines), tuple(views), tuple(code.intrinsics))


class Operands:
    """The views of an operation, by number: what is written first, then what is read."""

    def __init__(self, out: View, *expressions: Expression) -> None:
        self.views = [out, *loads(*expressions)]
        self._numbers = {view: i for i, view in enumerate(self.views) if i}

    @property
    def strides(self) -> list[tuple[int, ...]]:
        return [view.strides for view in self.views]

    def reader(self, code: Code, offsets: list[str], steps: tuple[int, ...], width: int):
        """What `functions.emit` loads with, at offsets, along an axis."""

        def load(part: Load) -> str:
            i = self._numbers[part.view]
            return code.load(f"%p{i}", part.dtype, offsets[i], steps[i], width)

        return load

    def write(
        self, code: Code, value: str, offsets: list[str], steps: tuple[int, ...], width: int
    ) -> None:
        code.store(value, "%p0", self.views[0].dtype, offsets[0], steps[0], width)


def build(operation: Operation, processor: Processor) -> Kernel:
    from rtsep.engines.native.product import product
    from rtsep.engines.native.quantising import narrow, quantise

    match operation:
        case Quantise():
            return quantise(operation, processor)
        case Narrow():
            return narrow(operation, processor)
        case Map():
            return _map(operation, processor)
        case Norm():
            return _norm(operation, processor)
        case Reduce():
            return _reduce(operation, processor)
        case Scan():
            return _scan(operation)
        case Gather():
            return _gather(operation)
        case _:
            return product(operation, processor)


def _map(operation: Map, processor: Processor) -> Kernel:
    code, operands = Code(), Operands(operation.out, operation.expression)
    loops = space(operation.out.shape, operands.strides)
    steps = loops.of(-1)

    def body(width: int, offsets: list[str]) -> None:
        load = operands.reader(code, offsets, steps, width)
        value = functions.emit(code, operation.expression, width, load)
        operands.write(code, value, offsets, steps, width)

    nest(
        code,
        loops.sizes[:-1],
        [own[:-1] for own in loops.strides],
        lambda offsets: (
            along(code, loops.sizes[-1], processor.width, steps, offsets, body) and None
        ),
    )
    return kernel(code, operands.views)


def _norm(operation: Norm, processor: Processor) -> Kernel:
    """Each row is computed into its place, then read twice from there: it is in the cache."""
    out = operation.out
    code, operands = Code(), Operands(out, operation.source, operation.expression)
    loops = space(out.shape[:-1], [own[:-1] for own in operands.strides])
    length, steps = out.shape[-1], tuple(own[-1] for own in operands.strides)

    def row(offsets: list[str]) -> None:
        def first(width: int, offsets: list[str], *total: str) -> list[str]:
            load = operands.reader(code, offsets, steps, width)
            value = functions.emit(code, operation.source, width, load)
            operands.write(code, value, offsets, steps, width)
            return [_sum(code, width, value, *total)]

        total = _row_sum(code, processor, length, steps, offsets, first)
        mean = _scaled(code, total, 1 / length)

        def second(width: int, offsets: list[str], *total: str) -> list[str]:
            value = _stored(code, offsets, steps, width)
            less = functions.Vector(code, width).sub(value, code.splat(mean, "f32", width))
            square = functions.Vector(code, width).mul(less, less)
            return [_sum(code, width, square, *total)]

        total = _row_sum(code, processor, length, steps, offsets, second)
        maths = functions.Vector(code, 1)
        variance = maths.add(
            _scaled(code, total, 1 / length), code.constant(operation.eps, "f32", 1)
        )
        scale = maths.div(code.constant(1, "f32", 1), maths.sqrt(variance))

        def third(width: int, offsets: list[str]) -> None:
            maths = functions.Vector(code, width)
            value = _stored(code, offsets, steps, width)
            less = maths.sub(value, code.splat(mean, "f32", width))
            normal = maths.mul(less, code.splat(scale, "f32", width))
            load = operands.reader(code, offsets, steps, width)
            value = functions.emit(code, operation.expression, width, load, normal)
            operands.write(code, value, offsets, steps, width)

        along(code, length, processor.width, steps, offsets, third)

    nest(code, loops.sizes, loops.strides, row)
    return kernel(code, operands.views)


def _stored(code: Code, offsets: list[str], steps: tuple[int, ...], width: int) -> str:
    return code.load("%p0", "f32", offsets[0], steps[0], width)


def _sum(code: Code, width: int, value: str, *total: str) -> str:
    return functions.Vector(code, width).add(total[0], value) if total else value


def _scaled(code: Code, value: str, factor: float) -> str:
    return functions.Vector(code, 1).mul(value, code.constant(factor, "f32", 1))


def _row_sum(code, processor, length, steps, offsets, body) -> str:
    """The sum, a vector of width 1, over all that `body` sums up."""
    width = processor.width
    zero = (vector("float", width), "zeroinitializer")
    # One sum waits for the one before it: several don't wait for one another.
    strands = next(n for n in (_STRANDS, 2, 1) if length // width % n == 0)
    values, rest = along(code, length, width, steps, offsets, body, [zero] * strands)
    while len(values) > 1:
        half = len(values) // 2
        pairs = zip(values[:half], values[half:], strict=True)
        values = [combine(code, "sum", "f32", a, b, width) for a, b in pairs]
    total = _across(code, "sum", "f32", values[0], width) if length >= width else None
    for narrow, found in rest:
        part = _across(code, "sum", "f32", found[0], narrow)
        total = part if total is None else combine(code, "sum", "f32", total, part, 1)
    return total


def _reduce(operation: Reduce, processor: Processor) -> Kernel:
    """Along the output where the source lies so, else along the last axis that is reduced."""
    out, sizes, kind = operation.out, operation.sizes, operation.kind
    dtype = out.dtype
    # The output as one that does not move along the axes that are reduced.
    code, operands = Code(), Operands(out, operation.source)
    rank = len(out.shape)
    outer = [(*own[:rank],) for own in operands.strides]
    inner = [(0,) * len(sizes), *(own[rank:] for own in operands.strides[1:])]
    kept, gone = space(out.shape, outer), space(sizes, inner, sort=False)
    across = kept.sizes[-1] == 1 or any(step not in (0, 1) for step in kept.of(-1)[1:])
    if across and all(step in (0, 1) for step in gone.of(-1)):
        build = _reduce_across
    else:
        build = _reduce_along
    build(code, operands, operation.source, kept, gone, kind, dtype, processor.width)
    return kernel(code, operands.views)


def _reduce_along(code, operands, source, kept, gone, kind, dtype, width) -> None:
    """A vector of results at a time."""
    steps = kept.of(-1)

    def body(width: int, offsets: list[str]) -> None:
        many = vector(REGISTER[dtype], width)

        def over(axis: int, offsets: list[str], total: str) -> str:
            if axis == len(gone.sizes):
                load = operands.reader(code, offsets, steps, width)
                value = functions.emit(code, source, width, load)
                return combine(code, kind, dtype, total, value, width)

            def inner(index: str, total: str) -> list[str]:
                moved = [
                    code.linear((index, own[axis]), start=offset)
                    for own, offset in zip(gone.strides, offsets, strict=True)
                ]
                return [over(axis + 1, moved, total)]

            return code.loop(gone.sizes[axis], inner, [(many, total)])[0]

        total = over(0, offsets, _neutral(code, kind, dtype, width))
        operands.write(code, total, offsets, steps, width)

    nest(
        code,
        kept.sizes[:-1],
        [own[:-1] for own in kept.strides],
        lambda offsets: along(code, kept.sizes[-1], width, steps, offsets, body) and None,
    )


def _reduce_across(code, operands, source, kept, gone, kind, dtype, width) -> None:
    """One result at a time, from vectors along the axis that is reduced."""
    steps = gone.of(-1)

    def result(offsets: list[str]) -> None:
        def over(axis: int, offsets: list[str], total: str) -> str:
            if axis < len(gone.sizes) - 1:

                def inner(index: str, total: str) -> list[str]:
                    moved = [
                        code.linear((index, own[axis]), start=offset)
                        for own, offset in zip(gone.strides, offsets, strict=True)
                    ]
                    return [over(axis + 1, moved, total)]

                one = vector(REGISTER[dtype], 1)
                return code.loop(gone.sizes[axis], inner, [(one, total)])[0]

            def body(width: int, offsets: list[str], *before: str) -> list[str]:
                load = operands.reader(code, offsets, steps, width)
                value = functions.emit(code, source, width, load)
                if before:
                    value = combine(code, kind, dtype, before[0], value, width)
                return [value]

            first = (vector(REGISTER[dtype], width), _neutral(code, kind, dtype, width))
            length = gone.sizes[-1]
            values, rest = along(code, length, width, steps, offsets, body, [first])
            found = [(width, values)] * (length >= width) + rest
            for narrow, value in found:
                part = _across(code, kind, dtype, value[0], narrow)
                total = combine(code, kind, dtype, total, part, 1)
            return total

        total = over(0, offsets, _neutral(code, kind, dtype, 1))
        operands.write(code, total, offsets, (1,) * len(operands.views), 1)

    nest(code, kept.sizes, kept.strides, result)


def combine(code: Code, kind: str, dtype: str, a: str, b: str, width: int) -> str:
    """Two registers by a reduction's own function."""
    name, like = "add" if kind == "sum" else kind, Scalar(0, dtype)
    return functions.apply(code, Apply(name, (like, like), dtype), [a, b], width)


def _neutral(code: Code, kind: str, dtype: str, width: int) -> str:
    if kind == "sum":
        return code.constant(0, dtype, width)
    if dtype == "i64":
        return code.constant(-(1 << 63) if kind == "max" else (1 << 63) - 1, dtype, width)
    return code.constant(float("-inf" if kind == "max" else "inf"), dtype, width)


def _across(code: Code, kind: str, dtype: str, value: str, width: int) -> str:
    """A vector's lanes as one, by halves."""
    while width > 1:
        width //= 2
        low = code.part(value, dtype, 2 * width, 0, width)
        high = code.part(value, dtype, 2 * width, width, width)
        value = combine(code, kind, dtype, low, high, width)
    return value


def _scan(operation: Scan) -> Kernel:
    """One position after the other: what is summed so is short."""
    source = Load(operation.source)
    code, operands = Code(), Operands(operation.out, source)
    strides, length = operands.strides, operation.out.shape[-1]
    dtype = operation.out.dtype
    loops = space(operation.out.shape[:-1], [own[:-1] for own in strides])
    steps = tuple(own[-1] for own in strides)

    def row(offsets: list[str]) -> None:
        def inner(index: str, total: str) -> list[str]:
            moved = [
                code.linear((index, step), start=offset)
                for step, offset in zip(steps, offsets, strict=True)
            ]
            value = operands.reader(code, moved, steps, 1)(source)
            total = combine(code, "sum", dtype, total, value, 1)
            operands.write(code, total, moved, steps, 1)
            return [total]

        code.loop(length, inner, [(vector(REGISTER[dtype], 1), _neutral(code, "sum", dtype, 1))])

    nest(code, loops.sizes, loops.strides, row)
    return kernel(code, operands.views)


def _gather(operation: Gather) -> Kernel:
    """Element by element: where each lies is known only now. An index beyond the end is the end."""
    code, views = Code(), [operation.out, operation.source, operation.indices]
    step, size = operation.source.strides[operation.axis], operation.source.shape[operation.axis]
    still = list(operation.source.strides)
    still[operation.axis] = 0
    loops = space(operation.out.shape, [views[0].strides, still, views[2].strides])

    def element(offsets: list[str]) -> None:
        index = code.load("%p2", "i64", offsets[2], 1, 1)
        index = code.set(f"extractelement <1 x i64> {index}, i32 0")
        from_end = code.set(f"add nsw i64 {index}, {size}")
        negative = code.set(f"icmp slt i64 {index}, 0")
        index = code.set(f"select i1 {negative}, i64 {from_end}, i64 {index}")
        index = code.call("i64", "llvm.smax.i64", ("i64", index), ("i64", "0"))
        place = code.call("i64", "llvm.smin.i64", ("i64", index), ("i64", str(size - 1)))
        value = code.load(
            "%p1", operation.source.dtype, code.linear((place, step), start=offsets[1]), 1, 1
        )
        code.store(value, "%p0", operation.out.dtype, offsets[0], 1, 1)

    nest(code, loops.sizes, loops.strides, element)
    return kernel(code, views)
