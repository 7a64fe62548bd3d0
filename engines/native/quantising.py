"""Kernels that turn rows of floats into what is multiplied faster."""

from __future__ import annotations

from rtsep.engines.native import functions
from rtsep.engines.native.code import Code, vector
from rtsep.engines.native.kernels import Kernel, kernel
from rtsep.engines.native.loops import along
from rtsep.engines.native.plan import Narrow, Quantise
from rtsep.engines.native.processor import Processor

_MOST = 127
_LEAST = 1e-30
# A float of this size has no bits for fractions: what is added to it is rounded to a whole number,
# which its lowest bits are then.
_WHOLE = 1.5 * 2**23


def quantise(operation: Quantise, processor: Processor) -> Kernel:
    """The largest size of a row is found first; a row of zeros has no step and stays in the middle.

    Sizes are compared as whole numbers: so what is no number is the largest, and the row's step.
    """
    code = Code()
    m, k = operation.source.shape
    strides = (operation.out.strides[0], operation.source.strides[0])

    def row(index: str) -> None:
        places = [code.linear((index, stride)) for stride in strides]

        def larger(width: int, offsets: list[str], *before: str) -> list[str]:
            value = code.load("%p2", "f32", offsets[1], 1, width)
            bits = vector("i32", width)
            size = code.set(f"bitcast {vector('float', width)} {value} to {bits}")
            size = code.set(f"and {bits} {size}, {_all(0x7FFFFFFF, width)}")
            return [_max(code, size, before[0], width) if before else size]

        width = processor.width
        start = (vector("i32", width), "zeroinitializer")
        values, rest = along(code, k, width, (1, 1), places, larger, [start])
        found = _across(code, values[0], width)
        for narrow, value in rest:
            found = _max(code, found, _across(code, value[0], narrow), 1)
        maths = functions.Vector(code, 1)
        largest = code.set(f"bitcast <1 x i32> {found} to <1 x float>")
        scale = maths.mul(largest, code.constant(1 / _MOST, "f32", 1))
        code.store(scale, "%p1", "f32", code.linear((index, 1)), 1, 1)
        nonzero = maths.max(largest, code.constant(_LEAST, "f32", 1))
        factor = maths.div(code.constant(_MOST, "f32", 1), nonzero)

        def rounded(width: int, offsets: list[str]) -> None:
            maths, bits = functions.Vector(code, width), vector("i32", width)
            value = code.load("%p2", "f32", offsets[1], 1, width)
            value = maths.mul(value, code.splat(factor, "f32", width))
            value = maths.add(value, code.constant(_WHOLE + _MOST + 1, "f32", width))
            whole = code.set(f"bitcast {maths.type} {value} to {bits}")
            narrow = code.set(f"trunc {bits} {whole} to {vector('i8', width)}")
            code.store(narrow, "%p0", "i8", offsets[0], 1, width)

        along(code, k, width, (1, 1), places, rounded)

    code.loop(m, row)
    return kernel(code, [operation.out, operation.scales, operation.source])


def narrow(operation: Narrow, processor: Processor) -> Kernel:
    """Rounded to the nearest bfloat16."""
    code = Code()
    m, k = operation.source.shape
    strides = (operation.out.strides[0], operation.source.strides[0])

    def rounded(width: int, offsets: list[str]) -> None:
        value = code.load("%p1", "f32", offsets[1], 1, width)
        half = code.set(f"fptrunc {vector('float', width)} {value} to {vector('bfloat', width)}")
        bits = code.set(f"bitcast {vector('bfloat', width)} {half} to {vector('i16', width)}")
        where = code.address("%p0", "bf16", offsets[0])
        code.do(f"store {vector('i16', width)} {bits}, ptr {where}, align 2")

    def row(index: str) -> None:
        places = [code.linear((index, stride)) for stride in strides]
        along(code, k, processor.width, (1, 1), places, rounded)

    code.loop(m, row)
    return kernel(code, [operation.out, operation.source])


def _max(code: Code, a: str, b: str, width: int) -> str:
    bits = vector("i32", width)
    return code.call(bits, f"llvm.smax.v{width}i32", (bits, a), (bits, b))


def _across(code: Code, value: str, width: int) -> str:
    """A vector's largest lane, by halves."""
    while width > 1:
        width //= 2
        low = code.part(value, "i32", 2 * width, 0, width)
        high = code.part(value, "i32", 2 * width, width, width)
        value = _max(code, low, high, width)
    return value


def _all(number: int, width: int) -> str:
    return "<" + ", ".join([f"i32 {number}"] * width) + ">"
