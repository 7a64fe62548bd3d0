"""The exported step in ONNX Runtime, one thread, nothing copied twice.

buffers.py holds sound and state; all of it is bound once, when the engine is made.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import onnxruntime as ort

from rtsep.engines import EXPORT, cache
from rtsep.engines.buffers import Buffers
from rtsep.engines.denormals import Flushing
from rtsep.engines.exported import exported
from rtsep.engines.protocol import Progress, StreamSpec
from rtsep.engines.source import Source
from rtsep.engines.state import Layout, Leaf
from rtsep.errors import Failure

PRECISIONS = ("float32", "int8")
_LIBRARIES = (*EXPORT, "onnxruntime")


def build(
    source: Source, chunk: int, batch: int, precision: str, progress: Progress
) -> OnnxRuntime:
    """From the cache, without torch, where it was built before."""
    spec = source.stream("onnxruntime", chunk, batch, precision)
    key = cache.key(
        spec.engine,
        _LIBRARIES,
        digest=spec.digest,
        chunk=chunk,
        batch=batch,
        precision=precision,
    )
    parts = cache.kept(key, lambda: _compile(source, spec, progress), progress)
    state = json.loads(parts["state.json"])
    leaves = [Leaf(**leaf) for leaf in state["leaves"]]
    rings = [Layout(**ring) for ring in state["rings"]]
    return OnnxRuntime(spec, parts["step.onnx"], Buffers(spec, leaves, rings))


class OnnxRuntime:
    """Keeps all buffers from the first step to the last; copies sound once in and once out."""

    def __init__(self, spec: StreamSpec, graph: bytes, buffers: Buffers) -> None:
        self.spec = spec
        self._flushing = Flushing()
        self._session = _session(graph, flush=not self._flushing.supported)
        self._buffers = buffers
        self._bindings = [self._bind(turn) for turn in range(buffers.turns)]

    def process(
        self, mixture: np.ndarray, stems: np.ndarray, active: Sequence[bool] | None = None
    ) -> None:
        if self._session is None:
            raise Failure("this engine was closed")
        self._buffers.process(self._run, mixture, stems, active)

    def reset(self, rows: Sequence[int] | None = None) -> None:
        if self._session is None:
            raise Failure("this engine was closed")
        self._buffers.reset(rows)

    def close(self) -> None:
        self._session = None
        self._bindings = []

    def _run(self, turn: int) -> None:
        with self._flushing:
            self._session.run_with_iobinding(self._bindings[turn])

    def _bind(self, turn: int) -> ort.IOBinding:
        """Where the step of a turn reads and writes."""
        read, written = self._buffers.views(turn)
        binding = self._session.io_binding()
        for bind, arrays in ((binding.bind_input, read), (binding.bind_output, written)):
            for name, array in arrays.items():
                bind(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        return binding


def _compile(source: Source, spec: StreamSpec, progress: Progress) -> cache.Parts:
    """The parts of a cache entry: the graph, and the state it starts from."""
    import onnx_ir

    from rtsep.engines import quantise, rewrite

    model, leaves = exported(source, spec.chunk, spec.batch, progress)
    progress(f"rewriting {len(model.graph)} operations for onnxruntime")
    leaves, rings = rewrite.optimise(model, leaves)
    if spec.precision == "int8":
        quantise.blocks(model.graph)
    state = {"leaves": [asdict(leaf) for leaf in leaves], "rings": [asdict(r) for r in rings]}
    return {
        "step.onnx": onnx_ir.to_proto(model).SerializeToString(),
        "state.json": json.dumps(state).encode(),
    }


def _session(graph: bytes, flush: bool) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if flush:
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
    return ort.InferenceSession(
        graph,
        options,
        providers=["CPUExecutionProvider"],
        # Turns products of three-dimensional tensors into Gemm with a reshape before and after:
        # six per cent slower here.
        disabled_optimizers=["MatMulAddFusion"],
    )
