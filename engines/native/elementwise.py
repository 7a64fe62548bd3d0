"""Operators that compute element by element, as expressions."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from rtsep.engines.native.lowering import Lazy, Lowering, Value
from rtsep.engines.native.nodes import Handler, attribute, constant_of, number
from rtsep.engines.native.plan import Load, Unsupported

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


def _relu(low: Lowering, node: ir.Node, x: Lazy) -> Value:
    return low.apply("max", x, number(0, x))


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
    return low.apply("div", number(1, x), x)


def power(low: Lowering, node: ir.Node, x: Lazy, exponent: Value) -> Value:
    power = constant_of(exponent, "an exponent")
    if power.size != 1:
        raise Unsupported("powers of different exponents")
    value = float(power.item())
    if value == 2:
        x = low.settled(x) if x.root is not None else x
        return low.apply("mul", x, x)
    if value == 0.5:
        return low.apply("sqrt", x)
    return low.apply("power", x, number(value, x))


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


ELEMENTWISE: dict[str, Handler] = {
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
    "Pow": power,
    "Cast": _cast,
    "Where": _where,
    "Not": _not,
    "Mod": _mod,
    "Identity": lambda low, node, x: x,
}
