"""Our own kernels: the exported step as one function of machine code, made when it is built.

In the order in which a model goes through them: `lowering` (with `operators`, `states`, `ends`)
makes a `plan` of the graph, `memory` and `packing` say where everything lies, `program` (with
`kernels`, `product`, `quantising`, `functions`, `loops`, `code`) writes it for LLVM, `processor`
has it compiled, and `engine` runs it. What was compiled is compared with the reference and kept; a
second start needs no torch and no compiling.
"""

from __future__ import annotations

import json

from rtsep.engines import EXPORT, cache
from rtsep.engines.exported import exported
from rtsep.engines.native.engine import Native
from rtsep.engines.native.processor import Processor, compiled, here
from rtsep.engines.protocol import Progress, StreamSpec
from rtsep.engines.source import Source
from rtsep.errors import Failure

PRECISIONS = ("float32", "bfloat16", "int8")
# What the weights of products are kept as.
_WEIGHTS = {"float32": "f32", "bfloat16": "bf16", "int8": "i8"}
_LIBRARIES = (*EXPORT, "llvmlite")


def build(source: Source, chunk: int, batch: int, precision: str, progress: Progress) -> Native:
    """From the cache, without torch, where it was built before.

    Raises `Failure` where the model has an operation for which there is no kernel, or where what
    was built is not what the network computes; that is kept too, to be said at once the next time.
    """
    spec = source.stream("native", chunk, batch, precision)
    processor = here()
    key = cache.key_of(spec, _LIBRARIES, level=processor.level)
    parts = cache.kept(key, lambda: _compile(source, spec, processor, progress), progress)
    if "refused" in parts:
        raise Failure(parts["refused"].decode())
    return _loaded(spec, parts)


def _loaded(spec: StreamSpec, parts: dict[str, bytes]) -> Native:
    return Native(spec, parts["step.o"], parts["weights"], json.loads(parts["layout.json"]))


def _compile(
    source: Source, spec: StreamSpec, processor: Processor, progress: Progress
) -> dict[str, bytes]:
    """The parts of a cache entry: machine code, weights, and where things lie; or why not."""
    from rtsep.engines import accuracy
    from rtsep.engines.native.lowering import lower
    from rtsep.engines.native.memory import arrange, layout
    from rtsep.engines.native.plan import Unsupported
    from rtsep.engines.native.program import program

    model, leaves = exported(source, spec.chunk, spec.batch, progress)
    try:
        weights = _WEIGHTS[spec.precision]
        plan = lower(model, leaves, weights=weights, pairs=processor.pairs_pay)
        memory = arrange(plan, processor)
        progress(f"compiling {len(plan.operations)} operations for {processor.name}")
        code = compiled(program(plan, memory, processor), processor)
        parts = {
            "step.o": code,
            "weights": memory.block,
            "layout.json": json.dumps(layout(plan, memory)).encode(),
            "plan.txt": f"{plan}\n".encode(),
        }
        accuracy.check(_loaded(spec, parts), source.network(), progress)
    except Unsupported as lacking:
        reason = f"engine native has no kernel for {spec.model}: {lacking}; onnxruntime has"
        return {"refused": reason.encode()}
    except Failure as reason:
        return {"refused": str(reason).encode()}
    except RuntimeError as error:
        said = str(error).strip().split("\n")[0]
        raise Failure(
            f"engine native: LLVM can't compile {spec.model} for {processor.name}: {said}"
        ) from None
    return parts
