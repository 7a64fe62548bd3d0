"""The default on processors: the exported step in ONNX Runtime, one thread, nothing copied twice.

Two sets of buffers hold the state; a step reads one and writes the other, then they swap. All
buffers are bound once, when the engine is made.
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
from rtsep.engines.source import Source
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
    return OnnxRuntime(spec, parts["step.onnx"], json.loads(parts["state.json"]))


class OnnxRuntime:
    """Keeps all buffers from the first step to the last; copies sound once in and once out."""

    def __init__(self, spec: StreamSpec, graph: bytes, leaves: list[dict]) -> None:
        self.spec = spec
        self._flushing = Flushing()
        self._session = _session(graph, flush=not self._flushing.supported)
        self._mixture = _buffer(spec.mixture_shape, "float32")
        self._stems = _buffer(spec.stems_shape, "float32")
        self._fresh = [np.array(leaf["fresh"], leaf["dtype"]) for leaf in leaves]
        # The current state is sets[turn]; the step writes the next one into the other set.
        self._sets = [[_buffer(leaf["shape"], leaf["dtype"]) for leaf in leaves] for _ in range(2)]
        self._turn = 0
        names = [leaf["name"] for leaf in leaves]
        self._bindings = [self._bind(names, *self._sets), self._bind(names, *self._sets[::-1])]
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
        before, after = self._sets[self._turn], self._sets[1 - self._turn]
        self._turn = 1 - self._turn
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
        for buffer, fresh in zip(self._sets[self._turn], self._fresh, strict=True):
            for row in range(self.spec.batch) if rows is None else rows:
                buffer[row] = fresh.reshape(buffer.shape[1:]) if fresh.ndim else fresh

    def close(self) -> None:
        self._session = None
        self._bindings = []

    def _bind(
        self, names: list[str], before: list[np.ndarray], after: list[np.ndarray]
    ) -> ort.IOBinding:
        binding = self._session.io_binding()

        def place(array: np.ndarray) -> tuple:
            return "cpu", 0, array.dtype, array.shape, array.ctypes.data

        binding.bind_input("mixture", *place(self._mixture))
        binding.bind_output("stems", *place(self._stems))
        for name, old, new in zip(names, before, after, strict=True):
            binding.bind_input(f"state.{name}", *place(old))
            binding.bind_output(f"next.{name}", *place(new))
        return binding


def _compile(source: Source, chunk: int, batch: int, progress: Progress) -> dict[str, bytes]:
    """The parts of a cache entry: the graph, and the state it starts from."""
    progress(f"loading {source.spec.name}")
    import onnx_ir

    from rtsep.engines.export import export_step
    from rtsep.engines.rewrite import optimise

    network = source.network()
    progress(f"exporting {source.spec.name} for chunks of {chunk} samples, once")
    model, leaves = export_step(network, chunk, batch)
    optimise(model)
    return {
        "step.onnx": onnx_ir.to_proto(model).SerializeToString(),
        "state.json": json.dumps([asdict(leaf) for leaf in leaves]).encode(),
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
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _buffer(shape: Sequence[int], dtype: str) -> np.ndarray:
    """Zeros that start on a cache line."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    raw = np.zeros(size + 63, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype).reshape(shape)
