"""A plan as one function in LLVM's text: kernels, and the calls of them in order.

`step(arena, block)` takes the addresses of the two. Kernels that come out alike are one.
"""

from __future__ import annotations

import platform

from rtsep.engines.native.kernels import build
from rtsep.engines.native.memory import Memory
from rtsep.engines.native.plan import SIZES, Plan, View
from rtsep.engines.native.processor import Processor

_ATTRIBUTES = 'attributes #0 = { noinline nounwind "prefer-vector-width"="512" }'


def program(plan: Plan, memory: Memory, processor: Processor) -> str:
    kernels: dict[str, str] = {}
    intrinsics: dict[str, None] = {}
    calls: list[str] = []
    for number, operation in enumerate(plan.operations):
        made = build(operation, processor)
        name = kernels.setdefault(made.body, f"k{len(kernels)}")
        intrinsics |= dict.fromkeys(made.intrinsics)
        given = []
        for i, view in enumerate(made.views):
            lines, pointer = _address(view, memory, f"%a{number}.{i}")
            calls += lines
            given.append(f"ptr {pointer}")
        calls.append(f"  call void @{name}({', '.join(given)})")
    before, after = _turns(memory)
    set_mode, mode_back, declared = _flushing()
    functions = [f"define internal void @{name}{body}" for body, name in kernels.items()]
    step = [
        "define void @step(ptr noalias %arena, ptr noalias %block) {",
        "entry:",
        *set_mode,
        *before,
        *calls,
        *after,
        *mode_back,
        "  ret void",
        "}",
    ]
    return "\n".join([*intrinsics, *declared, *functions, *step, _ATTRIBUTES, ""])


def _address(view: View, memory: Memory, name: str) -> tuple[list[str], str]:
    """The lines that compute where a view starts, and the register that holds it."""
    buffer = view.buffer
    base = "%block" if buffer.kind in ("constant", "weight") else "%arena"
    offset = memory.offsets[buffer] + view.offset * SIZES[buffer.dtype]
    lines = [f"  {name} = getelementptr i8, ptr {base}, i64 {offset}"]
    if buffer.kind != "ring":
        return lines, name
    turn = memory.turns[buffer.turn, buffer.step]
    size = buffer.frame * SIZES[buffer.dtype]
    lines.append(f"  {name}.m = mul nuw nsw i64 %turn{turn}, {size}")
    lines.append(f"  {name}.r = getelementptr i8, ptr {name}, i64 {name}.m")
    return lines, f"{name}.r"


def _turns(memory: Memory) -> tuple[list[str], list[str]]:
    """Reads where rings are, and moves them on by a step."""
    before, after = [], []
    for (turn, step), offset in memory.turns.items():
        before += [
            f"  %where{offset} = getelementptr i8, ptr %arena, i64 {offset}",
            f"  %turn{offset} = load i64, ptr %where{offset}, align 8",
        ]
        after += [
            f"  %next{offset} = add nuw nsw i64 %turn{offset}, {step}",
            f"  %round{offset} = icmp eq i64 %next{offset}, {turn}",
            f"  %then{offset} = select i1 %round{offset}, i64 0, i64 %next{offset}",
            f"  store i64 %then{offset}, ptr %where{offset}, align 8",
        ]
    return before, after


def _flushing() -> tuple[list[str], list[str], list[str]]:
    """Denormal numbers are zero within a step: processors are slow on them."""
    machine = platform.machine().lower()
    if machine in ("x86_64", "amd64"):
        # Flush results and inputs: bits 15 and 6 of the control register.
        before = [
            "  %mode = alloca [2 x i32], align 4",
            "  call void @llvm.x86.sse.stmxcsr(ptr %mode)",
            "  %mode.old = load i32, ptr %mode, align 4",
            "  %mode.new = or i32 %mode.old, 32832",
            "  %mode.flush = getelementptr i32, ptr %mode, i64 1",
            "  store i32 %mode.new, ptr %mode.flush, align 4",
            "  call void @llvm.x86.sse.ldmxcsr(ptr %mode.flush)",
        ]
        after = ["  call void @llvm.x86.sse.ldmxcsr(ptr %mode)"]
        declared = [f"declare void @llvm.x86.sse.{name}(ptr)" for name in ("ldmxcsr", "stmxcsr")]
        return before, after, declared
    if machine in ("aarch64", "arm64"):
        before = [
            "  %mode.old = call i64 @llvm.aarch64.get.fpcr()",
            "  %mode.new = or i64 %mode.old, 16777216",
            "  call void @llvm.aarch64.set.fpcr(i64 %mode.new)",
        ]
        after = ["  call void @llvm.aarch64.set.fpcr(i64 %mode.old)"]
        declared = [
            "declare i64 @llvm.aarch64.get.fpcr()",
            "declare void @llvm.aarch64.set.fpcr(i64)",
        ]
        return before, after, declared
    return [], [], []
