"""The exported step in ONNX Runtime's OpenVINO provider, on the processor.

As onnxruntime.py in all but the provider: the plug-in `onnxruntime-ep-openvino`, which takes
Intel's processors alone, or the one that is built into `onnxruntime-openvino`, which takes all.
The OpenVINO in 1.24.1 of the latter gives NaN where a cumulative norm has seen no frame yet: what
is built is compared with the reference before it is kept.
"""

from __future__ import annotations

import json

import onnxruntime as ort

from rtsep.engines import EXPORT, cache, providers, state
from rtsep.engines.onnxruntime import OnnxRuntime, rewritten
from rtsep.engines.protocol import Progress, StreamSpec
from rtsep.engines.requirements import OPENVINO_PLUGIN
from rtsep.engines.source import Source

PRECISIONS = ("float32",)
_PROVIDER = "OpenVINOExecutionProvider"
_OPTIONS = {
    "INFERENCE_PRECISION_HINT": "f32",
    "INFERENCE_NUM_THREADS": "1",
    "NUM_STREAMS": "1",
    "ENABLE_CPU_PINNING": "NO",
    "CPU_DENORMALS_OPTIMIZATION": "YES",
}


def build(
    source: Source, chunk: int, batch: int, precision: str, progress: Progress
) -> OnnxRuntime:
    """The rewritten step is kept, once it was right; the provider compiles it at each start."""
    spec = source.stream("onnxruntime-openvino", chunk, batch, precision)
    key = cache.key_of(spec, (*EXPORT, "onnxruntime", OPENVINO_PLUGIN))

    def make() -> cache.Parts:
        from rtsep.engines import accuracy

        parts = rewritten(source, spec, progress)
        accuracy.check(_loaded(spec, parts), source.network(), progress)
        return parts

    parts = cache.kept(key, make, progress)
    progress(f"compiling {spec.model} with onnxruntime's OpenVINO")
    return _loaded(spec, parts)


def _loaded(spec: StreamSpec, parts: cache.Parts) -> OnnxRuntime:
    return OnnxRuntime(spec, _session(spec, parts["step.onnx"]), *state.read(parts["state.json"]))


def _session(spec: StreamSpec, graph: bytes) -> ort.InferenceSession:
    options = {"load_config": json.dumps({"CPU": _OPTIONS})}
    if _PROVIDER in ort.get_available_providers():
        return providers.built_in(spec, graph, [(_PROVIDER, {"device_type": "CPU"} | options)])
    return providers.plugged_in(spec, graph, OPENVINO_PLUGIN, "CPU", options)
