"""Index arithmetic: views of views, none of which moves an element."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from rtsep.engines.native.plan import View


def expand(view: View, shape: Sequence[int]) -> View:
    """Stretched to a shape as numpy does: missing axes at the left, sizes of 1 anywhere."""
    added = len(shape) - len(view.shape)
    own = (1,) * added + view.shape
    strides = (0,) * added + view.strides
    stretched = tuple(
        0 if size == 1 and wanted != 1 else stride
        for size, wanted, stride in zip(own, shape, strides, strict=True)
    )
    return replace(view, shape=tuple(shape), strides=stretched)


def permute(view: View, order: Sequence[int]) -> View:
    return replace(
        view,
        shape=tuple(view.shape[axis] for axis in order),
        strides=tuple(view.strides[axis] for axis in order),
    )


def cut(view: View, axis: int, start: int, length: int, step: int = 1) -> View:
    """Of one axis `length` positions from `start`, `step` apart."""
    shape, strides = list(view.shape), list(view.strides)
    offset = view.offset + start * strides[axis]
    shape[axis], strides[axis] = length, strides[axis] * step
    return replace(view, offset=offset, shape=tuple(shape), strides=tuple(strides))


def pick(view: View, axis: int, index: int) -> View:
    """One position of an axis, which goes."""
    shape, strides = list(view.shape), list(view.strides)
    offset = view.offset + index * strides.pop(axis)
    shape.pop(axis)
    return replace(view, offset=offset, shape=tuple(shape), strides=tuple(strides))


def insert(view: View, axis: int) -> View:
    """With an axis of size 1."""
    shape, strides = list(view.shape), list(view.strides)
    shape.insert(axis, 1)
    strides.insert(axis, 0)
    return replace(view, shape=tuple(shape), strides=tuple(strides))


def reshape(view: View, shape: Sequence[int]) -> View | None:
    """The same elements in the same order; None where no strides can say that."""
    old = [(size, stride) for size, stride in zip(view.shape, view.strides, strict=True)]
    groups = merged(old)
    strides: list[int] = []
    # Sizes are taken from the right, each from the group that holds it.
    size, stride = groups.pop() if groups else (1, 1)
    for wanted in reversed(shape):
        if wanted == 1:
            strides.append(0)
            continue
        if size == 1 and groups:
            size, stride = groups.pop()
        if size % wanted:
            return None
        strides.append(stride)
        size, stride = size // wanted, stride * wanted
    return replace(view, shape=tuple(shape), strides=tuple(reversed(strides)))


def merged(axes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """(size, stride) pairs without those of size 1, neighbours joined where they are one run."""
    groups: list[tuple[int, int]] = []
    for size, stride in axes:
        if size == 1:
            continue
        if groups and groups[-1][1] == stride * size:
            groups[-1] = (groups[-1][0] * size, stride)
        else:
            groups.append((size, stride))
    return groups


def as_rows(view: View) -> tuple[int, int] | None:
    """All axes but the last as one: its size and stride. None where they are no such thing."""
    groups = merged(list(zip(view.shape[:-1], view.strides[:-1], strict=True)))
    if len(groups) > 1:
        return None
    return groups[0] if groups else (1, 0)


def count(view: View) -> int:
    return math.prod(view.shape)
