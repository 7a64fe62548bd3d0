"""What expressions are made of, as vector code: no library is called, so all of it is inlined."""

from __future__ import annotations

import math
from collections.abc import Callable

from rtsep.engines.native.code import FAST, REGISTER, Code, vector
from rtsep.engines.native.plan import Apply, Expression, Load, Result, Scalar, Unsupported

# exp: coefficients of the Taylor series up to the sixth power; what is left out is below 2e-8 of
# the value for arguments within log(2) / 2.
_EXP = [1 / math.factorial(n) for n in range(7)]
# log: 2 atanh(s), s = (m - 1) / (m + 1); with m within root 2 of 1 what is left out is below 1e-9.
_LOG = [2 / n for n in (1, 3, 5, 7, 9)]
# tanh below a quarter, over x: what is left out is below 5e-8.
_TANH = [1, -1 / 3, 2 / 15, -17 / 315, 62 / 2835]
# erf: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26; error below 1.5e-7.
_ERF = [0, 0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429]
_ERF_P = 0.3275911
_LN2_HIGH = 0.693145751953125
_LN2_LOW = math.log(2) - _LN2_HIGH
# Half a turn in three parts, of which the first two have few enough bits to be multiplied exactly.
_PI = (3.140625, 9.67502593994140625e-4, math.pi - 3.140625 - 9.67502593994140625e-4)
_SIN = [(-1) ** n / math.factorial(2 * n + 1) for n in range(6)]


def emit(
    code: Code,
    expression: Expression,
    width: int,
    load: Callable[[Load], str],
    result: str | None = None,
) -> str:
    """The register that holds an expression; what occurs twice is computed once."""
    done: dict[Expression, str] = {}

    def value(part: Expression) -> str:
        if part not in done:
            done[part] = make(part)
        return done[part]

    def make(part: Expression) -> str:
        match part:
            case Load():
                return load(part)
            case Scalar():
                return code.constant(part.value, part.dtype, width)
            case Result():
                return result
            case Apply():
                inputs = [value(inner) for inner in part.inputs]
                return apply(code, part, inputs, width)

    return value(expression)


def apply(code: Code, apply: Apply, inputs: list[str], width: int) -> str:
    """One function of registers."""
    kind = apply.inputs[0].dtype
    maths = Vector(code, width)
    if kind == "f32" and apply.name in _FLOAT:
        return getattr(maths, apply.name)(*inputs)
    many = vector(REGISTER[kind], width)
    if apply.name in _COMPARE:
        test = _COMPARE[apply.name][0 if kind == "f32" else 1]
        return code.set(f"{test} {many} {inputs[0]}, {inputs[1]}")
    if apply.name == "where":
        chosen = vector(REGISTER[apply.dtype], width)
        truth = vector("i1", width)
        return code.set(f"select {truth} {inputs[0]}, {chosen} {inputs[1]}, {chosen} {inputs[2]}")
    if apply.name == "cast":
        return _cast(code, inputs[0], kind, apply.dtype, width)
    if kind != "f32" and apply.name in _INTEGER:
        return code.set(f"{_INTEGER[apply.name]} {many} {inputs[0]}, {inputs[1]}")
    if kind == "i64" and apply.name in ("max", "min"):
        test = "sgt" if apply.name == "max" else "slt"
        truth = code.set(f"icmp {test} {many} {inputs[0]}, {inputs[1]}")
        return code.set(
            f"select {vector('i1', width)} {truth}, {many} {inputs[0]}, {many} {inputs[1]}"
        )
    raise Unsupported(f"{apply.name} of {kind}")


def _cast(code: Code, value: str, kind: str, wanted: str, width: int) -> str:
    before, after = vector(REGISTER[kind], width), vector(REGISTER[wanted], width)
    if wanted == "i1":
        if kind == "f32":
            return code.set(f"fcmp une {before} {value}, zeroinitializer")
        return code.set(f"icmp ne {before} {value}, zeroinitializer")
    how = {
        ("i1", "f32"): "uitofp",
        ("i1", "i64"): "zext",
        ("i64", "f32"): "sitofp",
        ("f32", "i64"): "fptosi",
    }[kind, wanted]
    return code.set(f"{how} {before} {value} to {after}")


_INTEGER = {
    "add": "add",
    "sub": "sub",
    "mul": "mul",
    "div": "sdiv",
    "mod": "srem",
    "and": "and",
    "or": "or",
    "xor": "xor",
}
_COMPARE = {
    "gt": ("fcmp ogt", "icmp sgt"),
    "ge": ("fcmp oge", "icmp sge"),
    "lt": ("fcmp olt", "icmp slt"),
    "le": ("fcmp ole", "icmp sle"),
    "eq": ("fcmp oeq", "icmp eq"),
}


class Vector:
    """Functions of float vectors of one width."""

    def __init__(self, code: Code, width: int) -> None:
        self.code, self.width = code, width
        self.type, self.bits = vector("float", width), vector("i32", width)
        self.suffix = f"v{width}f32"

    def _two(self, operation: str, a: str, b: str) -> str:
        return self.code.set(f"{operation} {FAST} {self.type} {a}, {b}")

    def add(self, a: str, b: str) -> str:
        return self._two("fadd", a, b)

    def sub(self, a: str, b: str) -> str:
        return self._two("fsub", a, b)

    def mul(self, a: str, b: str) -> str:
        return self._two("fmul", a, b)

    def div(self, a: str, b: str) -> str:
        return self._two("fdiv", a, b)

    def neg(self, a: str) -> str:
        return self.code.set(f"fneg {self.type} {a}")

    def max(self, a: str, b: str) -> str:
        """`a` where it is not a number."""
        return self._where(self._compare("olt", a, b), b, a)

    def min(self, a: str, b: str) -> str:
        return self._where(self._compare("ogt", a, b), b, a)

    def sqrt(self, a: str) -> str:
        return self._call("sqrt", a)

    def abs(self, a: str) -> str:
        return self._call("fabs", a)

    def floor(self, a: str) -> str:
        return self._call("floor", a)

    def leaky(self, x: str, slope: str) -> str:
        """x where it is positive, else the slope times it."""
        return self._where(self._compare("olt", x, self._number(0)), self.mul(x, slope), x)

    def exp(self, x: str) -> str:
        """2^n times a polynomial, n being put into the exponent's bits. Not a number stays so."""
        limited = self._limit(x, -87.3, 88.7)
        n = self._call("rint", self.mul(limited, self._number(1 / math.log(2))))
        rest = self.sub(limited, self.mul(n, self._number(_LN2_HIGH)))
        rest = self.sub(rest, self.mul(n, self._number(_LN2_LOW)))
        # Scaled in two halves: 2^128 has no bits of its own.
        half = self._call("floor", self.mul(n, self._number(0.5)))
        scaled = self.mul(self._polynomial(rest, _EXP), self._power_of_two(half))
        return self.mul(scaled, self._power_of_two(self.sub(n, half)))

    def log(self, x: str) -> str:
        """The exponent's bits, and a series for what lies within root 2 of 1. Above 0 alone."""
        code = self.code
        least = self.max(x, self._number(1.1754944e-38))
        raw = code.set(f"bitcast {self.type} {least} to {self.bits}")
        # Counted from the bits of root 1/2, so that the mantissa comes to lie around 1.
        shifted = self._integer("sub", raw, 0x3F3504F3)
        exponent = self._integer("ashr", shifted, 23)
        whole = self._integer("and", shifted, 0x7FFFFF)
        mantissa_bits = self._integer("add", whole, 0x3F3504F3)
        mantissa = code.set(f"bitcast {self.bits} {mantissa_bits} to {self.type}")
        n = code.set(f"sitofp {self.bits} {exponent} to {self.type}")
        one = self._number(1)
        s = self.div(self.sub(mantissa, one), self.add(mantissa, one))
        series = self.mul(s, self._polynomial(self.mul(s, s), _LOG))
        low = self.add(series, self.mul(n, self._number(_LN2_LOW)))
        found = self.add(low, self.mul(n, self._number(_LN2_HIGH)))
        zero = self._compare("ole", x, self._number(0))
        found = self._where(zero, self._number(-math.inf), found)
        return self._where(self._compare("uno", x, x), x, found)

    def power(self, x: str, exponent: str) -> str:
        """Of what is not negative."""
        positive = self._compare("ogt", x, self._number(0))
        found = self.exp(self.mul(exponent, self.log(x)))
        return self._where(positive, found, self._number(0))

    def sigmoid(self, x: str) -> str:
        one = self._number(1)
        return self.div(one, self.add(one, self.exp(self.neg(x))))

    def tanh(self, x: str) -> str:
        size = self.abs(x)
        falling = self.exp(self.mul(size, self._number(-2)))
        one = self._number(1)
        large = self.div(self.sub(one, falling), self.add(one, falling))
        signed = self._call("copysign", large, x)
        small = self.mul(x, self._polynomial(self.mul(x, x), _TANH))
        return self._where(self._compare("olt", size, self._number(0.25)), small, signed)

    def erf(self, x: str) -> str:
        size, one = self.abs(x), self._number(1)
        t = self.div(one, self.add(one, self.mul(size, self._number(_ERF_P))))
        falling = self.exp(self.neg(self.mul(size, size)))
        positive = self.sub(one, self.mul(self._polynomial(t, _ERF), falling))
        return self._call("copysign", positive, x)

    def sin(self, x: str) -> str:
        """Within half a turn of the nearest multiple, whose parity is the sign."""
        turns = self._call("rint", self.mul(x, self._number(1 / math.pi)))
        return self._of_rest(x, turns, self.mul(turns, self._number(0.5)))

    def cos(self, x: str) -> str:
        half = self._number(0.5)
        down = self._call("floor", self.mul(x, self._number(1 / math.pi)))
        return self._of_rest(
            x, self.add(down, half), self.mul(self.add(down, self._number(1)), half)
        )

    def _of_rest(self, x: str, turns: str, halves: str) -> str:
        """sin(x - pi turns), negative where `halves` is no whole number."""
        for part in _PI:
            x = self.sub(x, self.mul(turns, self._number(part)))
        value = self.mul(x, self._polynomial(self.mul(x, x), _SIN))
        odd = self._compare("une", halves, self.floor(halves))
        return self._where(odd, self.neg(value), value)

    # ---- parts

    def _number(self, value: float) -> str:
        return self.code.constant(value, "f32", self.width)

    def _call(self, name: str, *inputs: str) -> str:
        typed = [(self.type, value) for value in inputs]
        return self.code.call(self.type, f"llvm.{name}.{self.suffix}", *typed)

    def _compare(self, test: str, a: str, b: str) -> str:
        return self.code.set(f"fcmp {test} {self.type} {a}, {b}")

    def _where(self, truth: str, a: str, b: str) -> str:
        lanes = vector("i1", self.width)
        return self.code.set(f"select {lanes} {truth}, {self.type} {a}, {self.type} {b}")

    def _limit(self, x: str, least: float, most: float) -> str:
        return self.min(self.max(x, self._number(least)), self._number(most))

    def _integer(self, operation: str, value: str, number: int) -> str:
        many = "<" + ", ".join([f"i32 {number}"] * self.width) + ">"
        return self.code.set(f"{operation} {self.bits} {value}, {many}")

    def _power_of_two(self, n: str) -> str:
        whole = self.code.set(f"fptosi {self.type} {n} to {self.bits}")
        bits = self._integer("shl", self._integer("add", whole, 127), 23)
        return self.code.set(f"bitcast {self.bits} {bits} to {self.type}")

    def _polynomial(self, x: str, coefficients: list[float]) -> str:
        """By Horner's rule, the constant first."""
        value = self._number(coefficients[-1])
        for coefficient in reversed(coefficients[:-1]):
            value = self.add(self.mul(value, x), self._number(coefficient))
        return value


_FLOAT = {
    "add",
    "sub",
    "mul",
    "div",
    "neg",
    "max",
    "min",
    "sqrt",
    "abs",
    "floor",
    "leaky",
    "exp",
    "log",
    "power",
    "sigmoid",
    "tanh",
    "erf",
    "sin",
    "cos",
}
