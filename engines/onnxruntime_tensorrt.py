"""The exported step in ONNX Runtime's TensorRT provider, on an NVIDIA GPU.

What TensorRT does not take is the CUDA provider's. TensorRT's engines are kept beside the cache,
under the step's own key. There is no CUDA graph: the provider keeps one, for one set of addresses,
and the two turns have two. ONNX Runtime has no switch for TF32 here, so that float32 may be less
exact than on the other engines. It is compared with the reference at each start. Never run on a
GPU yet (device.py).
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import onnx_ir
import onnxruntime as ort
import torch

from rtsep.engines import EXPORT, accuracy, cache, providers
from rtsep.engines.device import name
from rtsep.engines.onnxruntime_cuda import OnGpu, cuda, load
from rtsep.engines.protocol import Progress, StreamSpec
from rtsep.engines.source import Source
from rtsep.engines.tensorrt import step_graph

PRECISIONS = ("float32", "float16")


def build(source: Source, chunk: int, batch: int, precision: str, progress: Progress) -> OnGpu:
    spec = source.stream("onnxruntime-tensorrt", chunk, batch, precision, device="cuda")
    graph, leaves = step_graph(source, spec, progress)
    load(spec)
    if find_spec("tensorrt"):
        import_module("tensorrt")  # its wheel's libraries are found by nobody else
    content = onnx_ir.to_proto(graph).SerializeToString()

    def session(stream: torch.cuda.Stream) -> ort.InferenceSession:
        wanted = [("TensorrtExecutionProvider", _options(spec, stream)), cuda(stream)]
        return providers.built_in(spec, content, wanted)

    progress(f"building {len(graph.graph)} operations with onnxruntime's TensorRT")
    made = OnGpu(spec, session, leaves)
    accuracy.check(made, source.network(), progress)
    return made


def _options(spec: StreamSpec, stream: torch.cuda.Stream) -> providers.Options:
    key = cache.key_of(spec, (*EXPORT, "onnxruntime", "tensorrt"), gpu=name())
    kept = cache.folder() / "tensorrt" / key
    kept.mkdir(parents=True, exist_ok=True)
    return {
        "user_compute_stream": str(stream.cuda_stream),
        # ONNX Runtime takes no other words for these, and no numbers.
        "trt_fp16_enable": str(spec.precision == "float16"),
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(kept),
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": str(kept),
    }
