"""The processor at hand: its vectors, and machine code for it."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cache

import llvmlite.binding as llvm

from rtsep.errors import WrongCall

LEVELS = ("baseline", "avx2", "avx512", "neon")


@dataclass(frozen=True)
class Processor:
    """`width` floats are a vector, `registers` of which there are.

    `dots`: whether it has an instruction that sums products of four numbers of 8 bits; `words`: one
    for two of 16 bits; `pairs`: one for two of bfloat16.
    """

    level: str
    name: str
    features: str
    width: int
    registers: int
    dots: bool = False
    words: bool = False
    pairs: bool = False

    @property
    def pairs_pay(self) -> bool:
        """Whether that for bfloat16 is faster than products of float32.

        AMD's is, twice; Intel's takes twice as long (10⁹ products a second, in float32 and in
        pairs: 59 and 118 on Zen 4, 95 and 45 on Emerald Rapids).
        """
        return self.pairs and self.name.startswith("znver")


@cache
def here() -> Processor:
    """What this processor has, or the lower level that `RTSEP_CPU` names.

    Raises `WrongCall` for a level that is unknown, or that the processor lacks.
    """
    _initialise()
    found = {name for name, has in llvm.get_host_cpu_features().items() if has}
    machine = platform.machine().lower()
    intel = machine in ("x86_64", "amd64")
    if intel:
        levels = ["baseline"]
        levels += ["avx2"] * ({"avx2", "fma"} <= found)
        levels += ["avx512"] * ({"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= found)
    else:
        levels = ["baseline"] + ["neon"] * (machine in ("aarch64", "arm64"))
    level = os.environ.get("RTSEP_CPU") or levels[-1]
    if level not in levels:
        raise WrongCall(f"RTSEP_CPU={level}: this processor has {', '.join(levels)}")
    whole = level == levels[-1]
    generic = {"avx2": "x86-64-v3", "avx512": "x86-64-v4"}.get(level, "")
    return Processor(
        level=level,
        name=llvm.get_host_cpu_name() if whole else generic,
        features=llvm.get_host_cpu_features().flatten() if whole else "",
        width={"avx512": 16, "avx2": 8}.get(level, 4),
        registers=32 if level in ("avx512", "neon") else 16,
        dots=whole and {"avx512": "avx512vnni", "avx2": "avxvnni"}.get(level) in found,
        words=intel,
        pairs=whole and level == "avx512" and "avx512bf16" in found,
    )


def compiled(source: str, processor: Processor) -> bytes:
    """LLVM's text as object code."""
    _initialise()
    module = llvm.parse_assembly(source)
    module.verify()
    machine = _machine(processor)
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = options.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return machine.emit_object(module)


class Loaded:
    """Object code in memory; `address` of a function is good for as long as this lives."""

    def __init__(self, content: bytes) -> None:
        _initialise()
        machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(content))
        self._engine.finalize_object()

    def address(self, function: str) -> int:
        return self._engine.get_function_address(function)


def _machine(processor: Processor) -> llvm.TargetMachine:
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=processor.name, features=processor.features, opt=3, jit=True
    )


@cache
def _initialise() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
