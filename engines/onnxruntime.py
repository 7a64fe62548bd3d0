"""The exported step in ONNX Runtime, one thread, nothing copied twice.

buffered.py holds sound and state; all of it is bound once, when the engine is made.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnxruntime as ort

from rtsep.engines import EXPORT, cache, state
from rtsep.engines.buffered import Buffered
from rtsep.engines.denormals import Flushing
from rtsep.engines.exported import exported
from rtsep.engines.protocol import Progress, StreamSpec
from rtsep.engines.source import Source
from rtsep.engines.state import Layout, Leaf

PRECISIONS = ("float32", "int8")
_LIBRARIES = (*EXPORT, "onnxruntime")


def build(
    source: Source, chunk: int, batch: int, precision: str, progress: Progress
) -> OnnxRuntime:
    """From the cache, without torch, where it was built before."""
    spec = source.stream("onnxruntime", chunk, batch, precision)
    key = cache.key_of(spec, _LIBRARIES)
    parts = cache.kept(key, lambda: rewritten(source, spec, progress), progress)
    return OnnxRuntime(spec, session(parts["step.onnx"]), *state.read(parts["state.json"]))


class OnnxRuntime(Buffered):
    """Runs a step that a session has on the processor."""

    def __init__(
        self,
        spec: StreamSpec,
        session: ort.InferenceSession,
        leaves: Sequence[Leaf],
        rings: Sequence[Layout],
    ) -> None:
        super().__init__(spec, leaves, rings)
        self._session = session
        self._bindings = [self._bind(turn) for turn in range(self._turns)]

    def close(self) -> None:
        super().close()
        self._session = None
        self._bindings = []

    def _run(self, turn: int) -> None:
        self._session.run_with_iobinding(self._bindings[turn])

    def _bind(self, turn: int) -> ort.IOBinding:
        """Where the step of a turn reads and writes."""
        read, written = self._views(turn)
        binding = self._session.io_binding()
        for bind, arrays in ((binding.bind_input, read), (binding.bind_output, written)):
            for name, array in arrays.items():
                bind(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        return binding


def rewritten(source: Source, spec: StreamSpec, progress: Progress) -> cache.Parts:
    """The parts of a cache entry: the graph, and the state it starts from."""
    import onnx_ir

    from rtsep.engines import quantise, rewrite

    model, leaves = exported(source, spec.chunk, spec.batch, progress)
    progress(f"rewriting {len(model.graph)} operations for onnxruntime")
    leaves, rings = rewrite.optimise(model, leaves)
    if spec.precision == "int8":
        quantise.blocks(model.graph)
    return {
        "step.onnx": onnx_ir.to_proto(model).SerializeToString(),
        "state.json": state.written(leaves, rings),
    }


def session(graph: bytes) -> ort.InferenceSession:
    """Of the processor's own provider."""
    return ort.InferenceSession(
        graph,
        options(),
        providers=["CPUExecutionProvider"],
        # Turns products of three-dimensional tensors into Gemm with a reshape before and after:
        # six per cent slower here.
        disabled_optimizers=["MatMulAddFusion"],
    )


def options() -> ort.SessionOptions:
    """What sessions of all providers have in common: one thread, which does not spin."""
    made = ort.SessionOptions()
    made.intra_op_num_threads = made.inter_op_num_threads = 1
    made.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    made.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    made.log_severity_level = 3
    made.add_session_config_entry("session.intra_op.allow_spinning", "0")
    made.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if not Flushing().supported:
        made.add_session_config_entry("session.set_denormal_as_zero", "1")
    return made
