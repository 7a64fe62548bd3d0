"""The default on processors: the exported step in ONNX Runtime, one thread, nothing copied twice.

Two sets of buffers hold the state; a step reads one and writes the other, then they swap. In a
single row, long pasts are rings instead. All buffers are bound once, when the engine is made: one
binding per step until rings and sets are where they began.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import onnxruntime as ort

from rtsep.engines import cache
from rtsep.engines.denormals import Flushing
from rtsep.engines.protocol import Progress, StreamSpec, check_buffers, check_rows, paused_rows
from rtsep.engines.rings import Layout, Ring
from rtsep.engines.source import Source
from rtsep.engines.state import Leaf
from rtsep.errors import Failure

PRECISIONS = ("float32",)
_LIBRARIES = ("torch", "onnx", "onnxscript", "onnx-ir", "onnxruntime")


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
    parts = cache.read(key)
    if parts is None:
        parts = _compile(source, chunk, batch, progress)
        try:
            cache.write(key, parts)
        except OSError as error:
            progress(f"not kept for next time: {error.strerror or error} in {cache.folder()}")
    state = json.loads(parts["state.json"])
    leaves = [Leaf(**leaf) for leaf in state["leaves"]]
    rings = [Layout(**ring) for ring in state["rings"]]
    return OnnxRuntime(spec, parts["step.onnx"], leaves, rings)


class OnnxRuntime:
    """Keeps all buffers from the first step to the last; copies sound once in and once out."""

    def __init__(
        self, spec: StreamSpec, graph: bytes, leaves: list[Leaf], rings: list[Layout]
    ) -> None:
        self.spec = spec
        self._flushing = Flushing()
        self._session = _session(graph, flush=not self._flushing.supported)
        self._mixture = _buffer(spec.mixture_shape, "float32")
        self._stems = _buffer(spec.stems_shape, "float32")
        self._fresh = [np.array(leaf.fresh, leaf.dtype) for leaf in leaves]
        # The step of turn k reads sets[k % 2] and writes the other.
        self._sets = [[_buffer(leaf.shape, leaf.dtype) for leaf in leaves] for _ in range(2)]
        self._rings = [
            Ring(ring, _buffer((ring.blocks, *ring.block), ring.dtype)) for ring in rings
        ]
        names = [leaf.name for leaf in leaves]
        turns = max([2, *(ring.blocks for ring in rings)])
        self._bindings = [self._bind(names, turn) for turn in range(turns)]
        self._turn = 0
        self.reset()

    def process(
        self, mixture: np.ndarray, stems: np.ndarray, active: Sequence[bool] | None = None
    ) -> None:
        if self._session is None:
            raise Failure("this engine was closed")
        check_buffers(self.spec, mixture, stems)
        paused = paused_rows(self.spec, active)
        if len(paused) == self.spec.batch:
            stems[:] = 0
            return
        np.copyto(self._mixture, mixture, casting="same_kind")
        with self._flushing:
            self._session.run_with_iobinding(self._bindings[self._turn])
        before, after = self._sets[self._turn % 2], self._sets[1 - self._turn % 2]
        self._turn = (self._turn + 1) % len(self._bindings)
        np.copyto(stems, self._stems)
        for row in paused:
            stems[row] = 0
            for old, new in zip(before, after, strict=True):
                new[row] = old[row]

    def reset(self, rows: Sequence[int] | None = None) -> None:
        if self._session is None:
            raise Failure("this engine was closed")
        if rows is not None:
            check_rows(self.spec, rows)
        rows = range(self.spec.batch) if rows is None else rows
        for buffer, fresh in zip(self._sets[self._turn % 2], self._fresh, strict=True):
            for row in rows:
                buffer[row] = fresh.reshape(buffer.shape[1:]) if fresh.ndim else fresh
        for ring in self._rings if len(rows) else ():
            ring.reset()  # there is one row where there are rings

    def close(self) -> None:
        self._session = None
        self._bindings = []

    def _bind(self, names: list[str], turn: int) -> ort.IOBinding:
        """Where the step of a turn reads and writes."""
        read, written = {"mixture": self._mixture}, {"stems": self._stems}
        before, after = self._sets[turn % 2], self._sets[1 - turn % 2]
        for name, old, new in zip(names, before, after, strict=True):
            read[f"state.{name}"], written[f"next.{name}"] = old, new
        for ring in self._rings:
            old, new = ring.views(turn)
            read |= old
            written |= new
        binding = self._session.io_binding()
        for bind, arrays in ((binding.bind_input, read), (binding.bind_output, written)):
            for name, array in arrays.items():
                bind(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        return binding


def _compile(source: Source, chunk: int, batch: int, progress: Progress) -> dict[str, bytes]:
    """The parts of a cache entry: the graph, and the state it starts from."""
    progress(f"loading {source.spec.name}")
    import onnx_ir

    from rtsep.engines import rewrite
    from rtsep.engines.export import export_step

    network = source.network()
    progress(f"exporting {source.spec.name} for chunks of {chunk} samples, once")
    model, leaves = export_step(network, chunk, batch)
    leaves, rings = rewrite.optimise(model, leaves)
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


def _buffer(shape: Sequence[int], dtype: str) -> np.ndarray:
    """Zeros that start on a cache line."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    raw = np.zeros(size + 63, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype).reshape(shape)
