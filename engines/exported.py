"""A model's exported step, kept, so that engines and precisions are built from one export.

Where it is kept nothing here imports torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtsep.engines import EXPORT, cache, state
from rtsep.engines.protocol import Progress
from rtsep.engines.source import Source
from rtsep.engines.state import Leaf

if TYPE_CHECKING:
    import onnx_ir as ir


def exported(
    source: Source, chunk: int, batch: int, progress: Progress
) -> tuple[ir.Model, list[Leaf]]:
    """What `export_step` gives: a graph of the caller's own, and the leaves of its state."""
    import onnx
    import onnx_ir as ir

    def export() -> dict[str, bytes]:
        progress(f"loading {source.spec.name}")
        from rtsep.engines.export import export_step

        network = source.network()
        progress(f"exporting {source.spec.name} for chunks of {chunk} samples, once")
        model, leaves = export_step(network, chunk, batch)
        return {
            "step.onnx": ir.to_proto(model).SerializeToString(),
            "state.json": state.written(leaves),
        }

    key = cache.key("export", EXPORT, digest=source.spec.digest, chunk=chunk, batch=batch)
    parts = cache.kept(key, export, progress, shelf=cache.STEPS)
    leaves, _ = state.read(parts["state.json"])
    return ir.from_proto(onnx.load_from_string(parts["step.onnx"])), leaves
