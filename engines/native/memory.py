"""Where every buffer lies: one arena for what changes, one block for weights and constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rtsep.engines.native.packing import pack, tiles
from rtsep.engines.native.plan import NUMPY, Buffer, Plan, Product, reads, writes
from rtsep.engines.native.processor import Processor

_LINE = 64


@dataclass(frozen=True)
class Memory:
    """Offsets in bytes; the arena's size; the content of the block. `turns` are rings' counters."""

    offsets: dict[Buffer, int]
    size: int
    block: bytes
    turns: dict[tuple[int, int], int]


def arrange(plan: Plan, processor: Processor) -> Memory:
    """Scratch buffers share memory where their lives don't meet; weights lie in order of use."""
    offsets: dict[Buffer, int] = {}
    turns: dict[tuple[int, int], int] = {}
    end = 0
    for buffer in plan.buffers:
        if buffer.kind == "ring":
            turn = (buffer.turn, buffer.step)
            if turn not in turns:
                turns[turn] = end
                end += _LINE
    for buffer in plan.buffers:
        if buffer.kind in ("state", "ring", "mixture", "stems"):
            offsets[buffer] = end
            end = _aligned(end + buffer.bytes)
    size = _place_scratch(plan, offsets, end)
    return Memory(offsets, size, _place_constants(plan, processor, offsets), turns)


def layout(plan: Plan, memory: Memory) -> dict[str, Any]:
    """What the engine must know of it, as JSON has it."""
    places: dict[str, Any] = {"size": memory.size}
    for buffer in plan.buffers:
        if buffer.kind in ("mixture", "stems"):
            places[buffer.kind] = memory.offsets[buffer]
    places["leaves"] = []
    for leaf in plan.leaves:
        buffer = leaf.buffer
        known = {
            "offset": memory.offsets[buffer],
            "dtype": np.dtype(NUMPY[buffer.dtype]).name,
            "shape": list(leaf.shape),
            "fresh": leaf.fresh,
        }
        if buffer.kind == "ring":
            known |= {"turn": buffer.turn, "at": memory.turns[buffer.turn, buffer.step]}
        places["leaves"].append(known)
    return places


def _place_scratch(plan: Plan, offsets: dict[Buffer, int], start: int) -> int:
    """Each at the lowest place that is free while it lives; gives the end of all."""
    lives: dict[Buffer, tuple[int, int]] = {}
    for time, operation in enumerate(plan.operations):
        for view in (*writes(operation), *reads(operation)):
            if view.buffer.kind == "scratch":
                first, _ = lives.get(view.buffer, (time, time))
                lives[view.buffer] = (first, time)
    placed: list[tuple[int, int, int, int]] = []
    most = start
    for buffer, (first, last) in lives.items():
        place = start
        for low, high, begin, end in sorted(placed):
            if begin <= last and first <= end and low < place + buffer.bytes and place < high:
                place = high
        offsets[buffer] = place
        high = _aligned(place + buffer.bytes)
        placed.append((place, high, first, last))
        most = max(most, high)
    return most


def _place_constants(plan: Plan, processor: Processor, offsets: dict[Buffer, int]) -> bytes:
    parts: list[bytes] = []
    end = 0

    def place(buffer: Buffer, content: np.ndarray) -> None:
        nonlocal end
        raw = np.ascontiguousarray(content).tobytes()
        offsets[buffer] = end
        after = _aligned(end + len(raw))
        parts.append(raw + bytes(after - end - len(raw)))
        end = after

    for operation in plan.operations:
        if isinstance(operation, Product) and operation.weight not in offsets:
            tile = tiles(operation.rows.shape[0], operation.out.shape[1], processor)
            weight = operation.weight
            place(weight, pack(weight.content, tile, weight.dtype))
        for view in reads(operation):
            if view.buffer.kind == "constant" and view.buffer not in offsets:
                place(view.buffer, view.buffer.content)
    return b"".join(parts)


def _aligned(size: int) -> int:
    return -(-size // _LINE) * _LINE
