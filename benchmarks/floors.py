"""What the processor can do at most, measured: bytes from each cache, products in registers.

    python benchmarks/floors.py [--json]

The floor of a step is the larger of two times: its weights at the bandwidth of the cache that they
fit, and its products at the peak of the precision's own instructions. No engine can be faster. What
a step reads of its state is left out: of a long past it is a few frames.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from rtsep.costs import Costs
from rtsep.engines.buffered import aligned
from rtsep.engines.native.code import Code, vector
from rtsep.engines.native.functions import Vector
from rtsep.engines.native.processor import Loaded, Processor, compiled, here
from rtsep.engines.native.product import WORDS

_SECONDS = 0.15  # for each figure
_STRANDS = 8  # sums that a reader has in flight
_ROUNDS = 20_000
_LEAST_READ = 4 << 20
# The third cache is what all cores of a processor share: a hundred MB and more, of which one core,
# and one tenant of a virtual machine, has a part (12 of 32 MB on a Zen 3, seen from within).
_MOST_READ = 8 << 20
# Where the system does not tell: a usual core of a server.
_CACHES = {1: 32 << 10, 2: 1 << 20, 3: 32 << 20}
_BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}


@dataclass(frozen=True)
class Floors:
    """`bandwidth` in bytes per second, by cache level ("1", "2", "3", "memory"), `sizes` in bytes.

    `peak` in multiply-accumulates per second, by precision; what the processor has no instruction
    for is as fast as float32.
    """

    sizes: dict[str, int]
    bandwidth: dict[str, float]
    peak: dict[str, float]

    def level(self, size: int) -> str:
        """The smallest cache that holds so many bytes."""
        return next((level for level, most in self.sizes.items() if size <= most), "memory")

    def step(
        self, weight_bytes: int, macs: float, precision: str = "float32", level: str | None = None
    ) -> float:
        """Seconds: of a step that reads so many bytes of weights (in float32), and multiplies.

        `level`: where they lie, if not in the smallest cache that holds them."""
        size = weight_bytes * _BYTES[precision] // 4
        bandwidth = self.bandwidth[level or self.level(size)]
        return max(size / bandwidth, macs / self.peak[precision])

    def step_ms(
        self, cost: Costs, chunk: int, rate: int, precision: str, level: str | None = None
    ) -> float:
        """Milliseconds: of a step of `chunk` samples of a model that costs so much."""
        macs = cost.macs * chunk / rate
        return round(1e3 * self.step(cost.weight_bytes, macs, precision, level), 4)

    def as_json(self) -> dict:
        return asdict(self)


def measure() -> Floors:
    processor = here()
    sizes = {str(level): size for level, size in _caches().items()}
    reach = {level: min(size // 2, _MOST_READ) for level, size in sizes.items()}
    reach["memory"] = min(4 * max(sizes.values()), 256 << 20)
    bandwidth = {level: _bandwidth(processor, size) for level, size in reach.items()}
    single = _peak(processor, "float32")
    peak = {"float32": single}
    # Weights in bfloat16 may be multiplied in float32 as well.
    peak["bfloat16"] = max(single, _peak(processor, "bfloat16")) if processor.pairs else single
    peak["int8"] = _peak(processor, "int8") if processor.dots or processor.words else single
    return Floors(sizes, bandwidth, peak)


def _caches() -> dict[int, int]:
    """Bytes by level, of data, as one core sees them."""
    found = dict(_CACHES)
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            level, kind, size = (
                (index / name).read_text().strip() for name in ("level", "type", "size")
            )
        except OSError:
            continue
        if kind != "Instruction" and size.endswith("K"):
            found[int(level)] = int(size[:-1]) << 10
    return dict(sorted(found.items()))


def _bandwidth(processor: Processor, size: int) -> float:
    """Bytes per second of sums over memory of `size` bytes, read again and again."""
    width, each = processor.width, _STRANDS * processor.width
    trips = max(1, size // (4 * each))
    code = Code()
    maths = Vector(code, width)

    def body(index: str, *sums: str) -> list[str]:
        place = code.linear((index, each))
        loads = [
            code.load("%p1", "f32", code.linear((str(i * width), 1), start=place), 1, width)
            for i in range(_STRANDS)
        ]
        return [maths.add(total, load) for total, load in zip(sums, loads, strict=True)]

    # Small memory is read many times in one call.
    rounds = max(1, _LEAST_READ // size)
    start = [(maths.type, "zeroinitializer")] * _STRANDS

    def again(index: str, *sums: str) -> list[str]:
        kinds = [(maths.type, total) for total in sums]
        return code.loop(trips, body, kinds)

    _keep(code, code.loop(rounds, again, start), width)
    data = aligned((trips * each + 16,), "float32")  # in huge pages, as an engine's weights are
    data.fill(1)
    return 4 * rounds * trips * each / _fastest(processor, code, data)


def _peak(processor: Processor, precision: str) -> float:
    """Multiply-accumulates per second in registers alone."""
    width = processor.width
    strands = 24 if processor.registers >= 32 else 12
    code = Code()
    floats, bits = vector("float", width), vector("i32", width)
    given = code.load("%p1", "f32", "0", 1, width)
    halves, whole = vector("bfloat", 2 * width), code.set(f"bitcast {floats} {given} to {bits}")
    pair = code.set(f"bitcast {floats} {given} to {halves}")
    kind = bits if precision == "int8" else floats
    sixteen = vector("i16", 2 * width)
    words = code.set(f"bitcast {floats} {given} to {sixteen}")

    def once(total: str) -> str:
        if precision == "int8" and not processor.dots:
            # Of the sum so far, or it would be computed once.
            again = code.set(f"bitcast {bits} {total} to {sixteen}")
            inputs = [(sixteen, again), (sixteen, words)]
            return code.set(f"add {bits} {total}, {code.call(bits, WORDS[width], *inputs)}")
        if precision == "int8":
            name = f"llvm.x86.avx512.vpdpbusd.{32 * width}"
            return code.call(bits, name, (bits, total), (bits, whole), (bits, whole))
        if precision == "bfloat16":
            name = f"llvm.x86.avx512bf16.dpbf16ps.{32 * width}"
            return code.call(floats, name, (floats, total), (halves, pair), (halves, pair))
        inputs = [(floats, given), (floats, given), (floats, total)]
        return code.call(floats, f"llvm.fma.v{width}f32", *inputs)

    def body(index: str, *sums: str) -> list[str]:
        return [once(total) for total in sums]

    found = code.loop(_ROUNDS, body, [(kind, "zeroinitializer")] * strands)
    if precision == "int8":
        found = [code.set(f"bitcast {bits} {total} to {floats}") for total in found]
    _keep(code, found, width)
    lanes = width * {"float32": 1, "bfloat16": 2, "int8": 4 if processor.dots else 2}[precision]
    return _ROUNDS * strands * lanes / _fastest(processor, code, np.zeros(64, np.float32))


def _keep(code: Code, values: list[str], width: int) -> None:
    for i, value in enumerate(values):
        code.store(value, "%p0", "f32", str(i * width), 1, width)


def _fastest(processor: Processor, code: Code, data: np.ndarray) -> float:
    """Seconds of the fastest of many calls."""
    text = [*code.intrinsics, "define void @run(ptr noalias %p0, ptr %p1) {", "entry:"]
    loaded = Loaded(compiled("\n".join([*text, *code.lines, "  ret void", "}"]), processor))
    run: Callable = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(loaded.address("run"))
    out = np.zeros(32 * processor.width, np.float32)
    places = out.ctypes.data, data.ctypes.data
    run(*places)
    best, end = np.inf, time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        before = time.perf_counter()
        run(*places)
        best = min(best, time.perf_counter() - before)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    floors = measure()
    if options.json:
        print(json.dumps(floors.as_json(), indent=2))
        return
    for level, speed in floors.bandwidth.items():
        size = f"{floors.sizes[level] >> 10} KiB" if level in floors.sizes else ""
        print(f"{level:>8} {size:>10} {speed / 1e9:8.1f} GB/s")
    for precision, speed in floors.peak.items():
        print(f"{precision:>8} {speed / 1e9:19.1f} GMAC/s")


if __name__ == "__main__":
    main()
