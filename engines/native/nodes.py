"""What handlers of a graph's operators share: attributes, and inputs that must be known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from rtsep.engines.native.lowering import Value
from rtsep.engines.native.plan import Unsupported

Handler = Callable[..., Value | list[Value]]
"""Called with the lowering, the node and its inputs; gives the node's outputs."""


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


def number(value: float, like: Value) -> np.ndarray:
    """A constant of another value's type."""
    kind = np.int64 if like.dtype == "i64" else np.float32
    return np.array(value, kind)
