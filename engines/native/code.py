"""LLVM's text, written a line at a time: registers, loops, vectors of any width."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from rtsep.engines.native.plan import SIZES

# In registers, and in memory where that differs.
REGISTER = {"f32": "float", "i64": "i64", "i32": "i32", "i8": "i8", "i1": "i1"}
MEMORY = REGISTER | {"i1": "i8", "bf16": "i16"}
# A product and a sum may be one instruction; sums keep their order.
FAST = "contract"


class Code:
    """The body of one function. Names given back are registers, or literals."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.intrinsics: dict[str, None] = {}
        self._count = 0
        self._block = "entry"

    def name(self) -> str:
        self._count += 1
        return f"%v{self._count}"

    def set(self, text: str) -> str:
        name = self.name()
        self.lines.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        self.lines.append(f"  {text}")

    def call(self, result: str, function: str, *inputs: tuple[str, str], flags: str = "") -> str:
        """Of an intrinsic: its inputs are (type, register) pairs."""
        types = ", ".join(kind for kind, _ in inputs)
        self.intrinsics[f"declare {result} @{function}({types})"] = None
        given = ", ".join(f"{kind} {value}" for kind, value in inputs)
        return self.set(f"call {flags} {result} @{function}({given})")

    # ---- loops

    def loop(
        self,
        trips: int,
        body: Callable[..., Sequence[str] | None],
        carried: Sequence[tuple[str, str]] = (),
    ) -> list[str]:
        """`body(index, *values)` for each index, giving the next values of `carried`.

        `carried` are (type, first value) pairs; their last values come back.
        """
        if trips == 1:
            return list(body("0", *(first for _, first in carried)) or ())
        before, label = self._block, f"l{self._count}"
        self._count += 1
        index, following = f"%i.{label}", f"%n.{label}"
        values = [f"%{label}.c{i}" for i in range(len(carried))]
        self.do(f"br label %{label}")
        self.lines.append(f"{label}:")
        self._block = label
        # The phis need names that are known only after the body: they are put in here then.
        place = len(self.lines)
        after = list(body(index, *values) or ())
        latch = self._block
        phis = [f"  {index} = phi i64 [0, %{before}], [{following}, %{latch}]"]
        for value, (kind, first), last in zip(values, carried, after, strict=True):
            phis.append(f"  {value} = phi {kind} [{first}, %{before}], [{last}, %{latch}]")
        self.lines[place:place] = phis
        self.do(f"{following} = add nuw nsw i64 {index}, 1")
        done = self.set(f"icmp eq i64 {following}, {trips}")
        self.do(f"br i1 {done}, label %x.{label}, label %{label}")
        self.lines.append(f"x.{label}:")
        self._block = f"x.{label}"
        return after

    def linear(self, *terms: tuple[str, int], start: int | str = 0) -> str:
        """`start + sum(index * stride)`, as 64-bit integers."""
        total = str(start)
        for index, stride in terms:
            if stride == 0 or index == "0":
                continue
            scaled = index if stride == 1 else self.set(f"mul nsw i64 {index}, {stride}")
            total = scaled if total == "0" else self.set(f"add nsw i64 {total}, {scaled}")
        return total

    # ---- vectors

    def address(self, pointer: str, kind: str, offset: str) -> str:
        if offset == "0":
            return pointer
        return self.set(f"getelementptr inbounds {MEMORY[kind]}, ptr {pointer}, i64 {offset}")

    def load(self, pointer: str, kind: str, offset: str, stride: int, width: int) -> str:
        """`width` elements, `stride` apart, from an element offset."""
        if stride == 1 or width == 1:
            where = self.address(pointer, kind, offset)
            memory = vector(MEMORY[kind], width)
            value = self.set(f"load {memory}, ptr {where}, align {SIZES[kind]}")
            return self._truth(value, width) if kind == "i1" else value
        if stride == 0:
            return self.splat(self.load(pointer, kind, offset, 1, 1), kind, width)
        value = "poison"
        for lane in range(width):
            place = self.linear((str(lane * stride), 1), start=offset) if lane else offset
            single = self.load(pointer, kind, place, 1, 1)
            value = self.insert(value, single, kind, lane, width)
        return value

    def store(
        self, value: str, pointer: str, kind: str, offset: str, stride: int, width: int
    ) -> None:
        if stride == 1 or width == 1:
            if kind == "i1":
                kinds = vector("i1", width), vector("i8", width)
                value = self.set(f"zext {kinds[0]} {value} to {kinds[1]}")
            where = self.address(pointer, kind, offset)
            memory = vector(MEMORY[kind], width)
            self.do(f"store {memory} {value}, ptr {where}, align {SIZES[kind]}")
            return
        for lane in range(width):
            place = self.linear((str(lane * stride), 1), start=offset) if lane else offset
            single = self.part(value, kind, width, lane, 1)
            self.store(single, pointer, kind, place, 1, 1)

    def prefetch(self, pointer: str, kind: str, offset: str) -> None:
        """Into the second cache, to be read."""
        self.intrinsics["declare void @llvm.prefetch.p0(ptr, i32, i32, i32)"] = None
        where = self.address(pointer, kind, offset)
        self.do(f"call void @llvm.prefetch.p0(ptr {where}, i32 0, i32 2, i32 1)")

    def splat(self, value: str, kind: str, width: int) -> str:
        """One element, a vector of width 1, in all lanes."""
        if width == 1:
            return value
        element, one = REGISTER[kind], vector(REGISTER[kind], 1)
        lanes = f"<{width} x i32> zeroinitializer"
        return self.set(f"shufflevector <1 x {element}> {value}, {one} poison, {lanes}")

    def insert(self, whole: str, single: str, kind: str, lane: int, width: int) -> str:
        element, many = REGISTER[kind], vector(REGISTER[kind], width)
        scalar = self.set(f"extractelement <1 x {element}> {single}, i32 0")
        return self.set(f"insertelement {many} {whole}, {element} {scalar}, i32 {lane}")

    def part(self, value: str, kind: str, width: int, start: int, length: int) -> str:
        """Some of a vector's lanes."""
        if (start, length) == (0, width):
            return value
        many = vector(REGISTER[kind], width)
        lanes = ", ".join(f"i32 {lane}" for lane in range(start, start + length))
        return self.set(f"shufflevector {many} {value}, {many} poison, <{length} x i32> <{lanes}>")

    def constant(self, value: float | int | bool, kind: str, width: int) -> str:
        """A literal in all lanes."""
        return "<" + ", ".join([f"{REGISTER[kind]} {literal(value, kind)}"] * width) + ">"

    def _truth(self, value: str, width: int) -> str:
        kinds = vector("i8", width), vector("i1", width)
        return self.set(f"trunc {kinds[0]} {value} to {kinds[1]}")


def vector(element: str, width: int) -> str:
    return f"<{width} x {element}>"


def literal(value: float | int | bool, kind: str) -> str:
    """As LLVM reads it: a float as the bits of the double that equals it."""
    if kind == "f32":
        single = struct.unpack("f", struct.pack("f", value))[0]
        return f"0x{struct.unpack('Q', struct.pack('d', single))[0]:016X}"
    return str(int(value))


def pieces(length: int, width: int) -> list[tuple[int, int]]:
    """(start, width) of vectors that cover what full ones leave of a length, halving in width."""
    found, start = [], length // width * width
    while start < length:
        width //= 2
        if start + width <= length:
            found.append((start, width))
            start += width
    return found
