"""The kernel of a product: a few rows times panels of a weight, its sums held in registers."""

from __future__ import annotations

from rtsep.engines.native import functions
from rtsep.engines.native.code import Code, pieces, vector
from rtsep.engines.native.kernels import Kernel, Operands, kernel
from rtsep.engines.native.packing import tiles
from rtsep.engines.native.plan import Load, Product, View
from rtsep.engines.native.processor import Processor

# As many sums at least as a multiply-add takes cycles, times how many start in each.
_IN_FLIGHT = 8
# Floats of the weight that are sent for before they are needed: without it, a step whose weights
# have left the second cache takes half as long again (1.6 ms to 2.5 for 19 MB).
_AHEAD = 2048
_LINE = 16  # floats of a cache's line
# Sums of products of two numbers of 16 bits, by the lanes of the sums.
WORDS = {
    4: "llvm.x86.sse2.pmadd.wd",
    8: "llvm.x86.avx2.pmadd.wd",
    16: "llvm.x86.avx512.pmaddw.d.512",
}


def product(operation: Product, processor: Processor) -> Kernel:
    m, k = operation.rows.shape
    n = operation.out.shape[1]
    weight = View(operation.weight, 0, (k, n), (n, 1))
    operands = Operands(operation.out, Load(operation.rows), Load(weight), operation.expression)
    code, tile = Code(), tiles(m, n, processor)
    panels = tile.panels(n)
    alike = sum(1 for _, vectors in panels if vectors == tile.vectors)
    last_full = panels[-1][1] < tile.vectors or n % tile.columns == 0
    alike -= not last_full
    many, blocks = m // tile.rows, -(-m // tile.rows)
    emitter = _Panel(code, operation, operands, processor)

    def panel(first: str, vectors: int, columns: int) -> None:
        start = code.linear((first, emitter.room))

        def block(nth: str, rows: int) -> None:
            ahead = emitter.ahead(nth, blocks, start, vectors)
            row = code.linear((nth, tile.rows))
            emitter.block(row, rows, first, start, vectors, columns, ahead)

        code.loop(many, lambda nth: block(nth, tile.rows))
        if many < blocks:
            block(str(many), m - many * tile.rows)

    if alike:
        code.loop(
            alike,
            lambda p: panel(code.linear((p, tile.columns)), tile.vectors, tile.columns),
        )
    for first, vectors in panels[alike:]:
        panel(str(first), vectors, n - first)
    return kernel(code, operands.views)


class _Panel:
    """Emits blocks of rows times a panel."""

    def __init__(
        self, code: Code, operation: Product, operands: Operands, processor: Processor
    ) -> None:
        self.code, self.operation, self.operands = code, operation, operands
        self.width, self.processor = processor.width, processor
        self.whole = operation.weight.dtype == "i8"
        self.pairs = operation.rows.dtype == "bf16"
        self.type = vector("i32" if self.whole else "float", self.width)
        # Lines of the weight that lie interleaved in the room of one float.
        self.lines = {"f32": 1, "bf16": 2, "i8": 4}[operation.weight.dtype]
        self.steps = operation.rows.shape[1] // self.lines
        # Floats of a panel for each column.
        self.room = self.steps + self.whole
        self.strides = tuple(view.strides[1] for view in operands.views)

    def ahead(self, nth: str, blocks: int, start: str, vectors: int) -> tuple[str, int]:
        """From where on the `nth` of a panel's blocks sends for weights, and floats for each line.

        A single block sends for what is `_AHEAD`. Of several the first alone would wait for memory,
        which would rest during the others: so each sends for its share of the panel that follows.
        Where memory is slow, that takes a step of two blocks from 2.7 ms to 1.9 (20 MB).
        """
        code, line = self.code, vectors * self.width
        if blocks == 1:
            return code.linear((str(_AHEAD), 1), start=start), line
        share = -(-line // blocks)
        following = code.linear((str(self.room * line), 1), start=start)
        return code.linear((nth, self.steps * share), start=following), share

    def block(
        self,
        row: str,
        rows: int,
        first: str,
        start: str,
        vectors: int,
        columns: int,
        ahead: tuple[str, int],
    ) -> None:
        """Rows from `row` times the panel that starts at column `first`, at `start` in memory."""
        code, width = self.code, self.width
        sums = self._sums(row, rows, start, vectors, ahead)
        for t in range(rows):
            for j in range(vectors):
                left = min(width, columns - j * width)
                parts = [(0, width)] if left == width else pieces(left, width)
                for lane, narrow in parts:
                    part = code.part(sums[t][j], "f32", width, lane, narrow)
                    self._finish(part, row, t, first, j * width + lane, narrow)

    def _sums(
        self, row: str, rows: int, start: str, vectors: int, ahead: tuple[str, int]
    ) -> list[list[str]]:
        """A loop along k with all sums in registers, several of each where there are few."""
        code = self.code
        strands = 1
        while 2 * strands * rows * vectors <= _IN_FLIGHT and self.steps % (2 * strands) == 0:
            strands *= 2
        count = rows * vectors
        stride = self.operation.rows.strides[0]
        base = code.linear((row, stride))
        zero = (self.type, "zeroinitializer")
        first = [zero] * count
        if self.whole:
            lines = [code.linear((str(j * self.width), 1), start=start) for j in range(vectors)]
            first = [(self.type, self._bits(line)) for line in lines] * rows
            start = code.linear((str(vectors * self.width), 1), start=start)

        def body(index: str, *sums: str) -> list[str]:
            after = []
            for strand in range(strands):
                at = code.linear((index, strands), start=strand)
                line = code.linear((at, vectors * self.width), start=start)
                self._send_for(at, *ahead)
                weights = [self._weights(line, j * self.width) for j in range(vectors)]
                place = code.linear((at, self.lines), start=base)
                for t in range(rows):
                    values = self._values(place, t * stride)
                    for j in range(vectors):
                        total = sums[strand * count + t * vectors + j]
                        for value, weight in zip(values, weights[j], strict=True):
                            total = self._fused(value, weight, total)
                        after.append(total)
            return after

        carried = first + [zero] * (count * (strands - 1))
        found = code.loop(self.steps // strands, body, carried)
        while len(found) > count:
            half = len(found) // 2
            found = [self._added(a, b) for a, b in zip(found[:half], found[half:], strict=True)]
        if self.whole:
            floats = vector("float", self.width)
            found = [code.set(f"sitofp {self.type} {total} to {floats}") for total in found]
        return [found[t * vectors : (t + 1) * vectors] for t in range(rows)]

    def _send_for(self, index: str, start: str, floats: int) -> None:
        """`floats` of weights, the `index`th time from `start` on."""
        place = self.code.linear((index, floats), start=start)
        for more in range(0, floats, _LINE):
            line = self.code.linear((str(more), 1), start=place)
            self.code.prefetch("%p2", "f32", line)

    def _weights(self, line: str, column: int) -> list[str]:
        """A vector of a line of the panel, or of two where they lie in one."""
        code = self.code
        place = code.linear((str(column), 1), start=line)
        if self.lines == 1:
            return [code.load("%p2", "f32", place, 1, self.width)]
        both, bits = self._bits(place), vector("i32", self.width)
        if self.whole or self.pairs:
            return [both]
        # A bfloat16 is the upper half of a float.
        first = code.set(f"shl {bits} {both}, {_all(16, self.width)}")
        second = code.set(f"and {bits} {both}, {_all(-65536, self.width)}")
        return [code.set(f"bitcast {bits} {half} to {self.type}") for half in (first, second)]

    def _bits(self, place: str) -> str:
        where = self.code.address("%p2", "f32", place)
        return self.code.set(f"load {vector('i32', self.width)}, ptr {where}, align 4")

    def _values(self, place: str, offset: int) -> list[str]:
        """Of a row what is multiplied with a line, in all lanes: an element, two, or a dot's."""
        code = self.code
        if not self.whole and not self.pairs:
            places = [code.linear((str(offset + nth), 1), start=place) for nth in range(self.lines)]
            return [code.load("%p1", "f32", at, 0, self.width) for at in places]
        kind = self.operation.rows.dtype
        where = code.address("%p1", kind, code.linear((str(offset), 1), start=place))
        four = code.set(f"load <1 x i32>, ptr {where}, align 1")
        return [code.splat(four, "i32", self.width)]

    def _fused(self, a: str, b: str, c: str) -> str:
        if self.whole:
            return self._dot(a, b, c)
        if self.pairs:
            return self._pair(a, b, c)
        inputs = [(self.type, a), (self.type, b), (self.type, c)]
        return self.code.call(self.type, f"llvm.fmuladd.v{self.width}f32", *inputs)

    def _dot(self, values: str, weights: str, total: str) -> str:
        """In each lane four products of 8 bits, the values' without a sign, summed to the total."""
        code, bits = self.code, self.type
        if self.processor.dots:
            name = f"llvm.x86.avx512.vpdpbusd.{32 * self.width}"
            return code.call(bits, name, (bits, total), (bits, values), (bits, weights))
        if self.processor.words:
            return self._words(values, weights, total)
        for nth in range(4):
            right, left = _all(8 * nth, self.width), _all(24 - 8 * nth, self.width)
            value = code.set(f"lshr {bits} {values}, {right}")
            value = code.set(f"and {bits} {value}, {_all(255, self.width)}")
            weight = code.set(f"shl {bits} {weights}, {left}")
            weight = code.set(f"ashr {bits} {weight}, {_all(24, self.width)}")
            product = code.set(f"mul {bits} {value}, {weight}")
            total = code.set(f"add {bits} {total}, {product}")
        return total

    def _words(self, values: str, weights: str, total: str) -> str:
        """The same by way of 16 bits: the even ones of the four, then the odd ones."""
        code, width = self.code, 2 * self.width
        words, eight = vector("i16", width), _all(8, width, "i16")
        value = code.set(f"bitcast {self.type} {values} to {words}")
        weight = code.set(f"bitcast {self.type} {weights} to {words}")
        even = code.set(f"shl {words} {weight}, {eight}")
        halves = [
            (f"and {words} {value}, {_all(255, width, 'i16')}", f"ashr {words} {even}, {eight}"),
            (f"lshr {words} {value}, {eight}", f"ashr {words} {weight}, {eight}"),
        ]
        for half in halves:
            inputs = [(words, code.set(number)) for number in half]
            product = code.call(self.type, WORDS[self.width], *inputs)
            total = code.set(f"add {self.type} {total}, {product}")
        return total

    def _pair(self, values: str, weights: str, total: str) -> str:
        """In each lane two products of bfloat16, summed to the total."""
        code, halves = self.code, vector("bfloat", 2 * self.width)
        bits = vector("i32", self.width)
        given = [code.set(f"bitcast {bits} {both} to {halves}") for both in (values, weights)]
        name = f"llvm.x86.avx512bf16.dpbf16ps.{32 * self.width}"
        inputs = [(self.type, total), (halves, given[0]), (halves, given[1])]
        return code.call(self.type, name, *inputs)

    def _added(self, a: str, b: str) -> str:
        if self.whole:
            return self.code.set(f"add {self.type} {a}, {b}")
        return functions.Vector(self.code, self.width).add(a, b)

    def _finish(self, value: str, row: str, t: int, first: str, column: int, width: int) -> None:
        """What follows the product, and its place."""
        code = self.code
        offsets = []
        for number, view in enumerate(self.operands.views):
            if number in (1, 2):
                offsets.append("0")
                continue
            fixed = t * view.strides[0] + column * view.strides[1]
            offsets.append(
                code.linear((row, view.strides[0]), (first, view.strides[1]), start=fixed)
            )
        load = self.operands.reader(code, offsets, self.strides, width)
        value = functions.emit(code, self.operation.expression, width, load, value)
        self.operands.write(code, value, offsets, self.strides, width)


def _all(number: int, width: int, kind: str = "i32") -> str:
    return "<" + ", ".join([f"{kind} {number}"] * width) + ">"
