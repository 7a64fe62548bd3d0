"""The loops over an index space, as few as its operands allow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rtsep.engines.native.code import Code, pieces


@dataclass(frozen=True)
class Space:
    """Sizes of axes, outermost first, and each operand's strides along them."""

    sizes: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]

    def of(self, axis: int) -> tuple[int, ...]:
        """Every operand's stride along an axis."""
        return tuple(own[axis] for own in self.strides)


def space(sizes: Sequence[int], strides: Sequence[Sequence[int]], *, sort: bool = True) -> Space:
    """Without axes of size 1, neighbours joined where all operands run on.

    Sorted so that the first operand, which is written, runs along the last axis.
    """
    axes = [i for i, size in enumerate(sizes) if size != 1]
    if sort:
        axes.sort(key=lambda i: (-abs(strides[0][i]), i))
    grouped: list[tuple[int, tuple[int, ...]]] = []
    for axis in axes:
        size, steps = sizes[axis], tuple(own[axis] for own in strides)
        if grouped and all(
            outer == inner * size for outer, inner in zip(grouped[-1][1], steps, strict=True)
        ):
            grouped[-1] = (grouped[-1][0] * size, steps)
        else:
            grouped.append((size, steps))
    if not grouped:
        grouped = [(1, (0,) * len(strides))]
    found = tuple(size for size, _ in grouped)
    return Space(found, tuple(zip(*(steps for _, steps in grouped), strict=True)))


def nest(
    code: Code,
    sizes: Sequence[int],
    strides: Sequence[Sequence[int]],
    body: Callable[[list[str]], None],
    starts: Sequence[str] | None = None,
) -> None:
    """One loop in the other; `body` gets the operands' offsets."""
    offsets = list(starts or ["0"] * len(strides))
    if not sizes:
        body(offsets)
        return

    def inner(index: str) -> None:
        moved = [
            code.linear((index, own[0]), start=offset)
            for own, offset in zip(strides, offsets, strict=True)
        ]
        nest(code, sizes[1:], [own[1:] for own in strides], body, moved)

    code.loop(sizes[0], inner)


def along(
    code: Code,
    length: int,
    width: int,
    steps: Sequence[int],
    offsets: Sequence[str],
    body: Callable[..., Sequence[str] | None],
    carried: Sequence[tuple[str, str]] = (),
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The innermost axis in vectors: `body(width, offsets, *values)` gives the next `carried`.

    `carried` goes through the full vectors alone, and may hold several strands of one value, which
    as many vectors take in turn. Gives its last values, and what `body` gave for each narrower
    vector at the end, by its width.
    """
    full, strands = length // width, max(1, len(carried))

    def at(start: int, offsets: Sequence[str]) -> list[str]:
        return [
            code.linear((str(start * step), 1), start=offset)
            for step, offset in zip(steps, offsets, strict=True)
        ]

    def inner(index: str, *values: str) -> list[str]:
        moved = [
            code.linear((index, step * width * strands), start=offset)
            for step, offset in zip(steps, offsets, strict=True)
        ]
        after: list[str] = []
        for strand in range(strands):
            after += body(width, at(strand * width, moved), *values[strand : strand + 1]) or ()
        return after

    values = [first for _, first in carried]
    if full:
        values = code.loop(full // strands, inner, carried)
    rest = [
        (narrow, list(body(narrow, at(start, offsets)) or ()))
        for start, narrow in pieces(length, width)
    ]
    return values, rest
