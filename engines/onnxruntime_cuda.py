"""The exported step in ONNX Runtime's CUDA provider, on an NVIDIA GPU.

device.py holds sound and state; both are bound by address, one binding per turn, and ONNX Runtime
works on the same stream. It keeps a CUDA graph per turn by itself, which it captures in the first
steps. Never run on a GPU yet (device.py); the tests run the same bindings on the processor.

LSTMs are unrolled and reduced precisions are those of products alone, as for TensorRT.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout

import numpy as np
import onnx_ir
import onnxruntime as ort
import torch

from rtsep.engines import accuracy, providers
from rtsep.engines.device import DeviceBuffers, OnDevice, tensors
from rtsep.engines.protocol import Progress, StreamSpec
from rtsep.engines.source import Source
from rtsep.engines.state import Leaf
from rtsep.engines.tensorrt import step_graph
from rtsep.errors import Failure

PRECISIONS = ("float32", "float16")

# Makes the session whose steps go to a stream; the stream is None on a processor.
SessionOn = Callable[[torch.cuda.Stream | None], ort.InferenceSession]


def build(source: Source, chunk: int, batch: int, precision: str, progress: Progress) -> OnGpu:
    """Nothing is kept but the exported step: the provider compiles nothing.

    It is compared with the reference at each start.
    """
    spec = source.stream("onnxruntime-cuda", chunk, batch, precision, device="cuda")
    graph, leaves = step_graph(source, spec, progress)
    load(spec)
    content = onnx_ir.to_proto(graph).SerializeToString()

    def session(stream: torch.cuda.Stream) -> ort.InferenceSession:
        return providers.built_in(spec, content, [cuda(stream, enable_cuda_graph="1")])

    progress(f"capturing {len(graph.graph)} operations with onnxruntime")
    made = OnGpu(spec, session, leaves)
    accuracy.check(made, source.network(), progress)
    return made


class OnGpu(OnDevice):
    """A step in ONNX Runtime, between buffers on the device of the spec."""

    def __init__(self, spec: StreamSpec, session_on: SessionOn, leaves: Sequence[Leaf]) -> None:
        buffers = DeviceBuffers(spec, tensors(leaves, spec.device))
        session = session_on(buffers.stream)
        bindings = [_bind(session, spec.device, buffers, leaves, turn) for turn in range(2)]
        runs = [_run_options(turn) for turn in range(2)]

        def step(turn: int) -> None:
            try:
                session.run_with_iobinding(bindings[turn], runs[turn])
            except Exception as error:  # ONNX Runtime's have no base of their own
                raise providers.failure(spec, error) from None

        buffers.call(step)
        super().__init__(spec, buffers, (bindings, session))


def load(spec: StreamSpec) -> None:
    """Raises `Failure` where the libraries of CUDA that the provider needs are not there."""
    with redirect_stdout(sys.stderr):
        ort.preload_dlls()  # prints what it does not find
    try:
        ort.OrtValue.ortvalue_from_numpy(np.zeros(1, np.float32), "cuda", 0)
    except Exception:
        raise Failure(
            f"engine {spec.engine}: onnxruntime-gpu can't load its CUDA provider, as its log says "
            "above; what it needs comes with pip install 'onnxruntime-gpu[cuda,cudnn]'"
        ) from None


def cuda(stream: torch.cuda.Stream, **more: str) -> tuple[str, providers.Options]:
    """The provider, on a stream, and exact: without TF32."""
    on_stream = {"user_compute_stream": str(stream.cuda_stream), "use_tf32": "0"}
    return "CUDAExecutionProvider", on_stream | more


def _bind(
    session: ort.InferenceSession,
    device: str,
    buffers: DeviceBuffers,
    leaves: Sequence[Leaf],
    turn: int,
) -> ort.IOBinding:
    """Where the step of a turn reads and writes."""
    binding = session.io_binding()
    read, written = [("mixture", "float32", buffers.mixture)], [("stems", "float32", buffers.stems)]
    states = zip(leaves, buffers.sets[turn], buffers.sets[1 - turn], strict=True)
    for leaf, old, new in states:
        read.append((f"state.{leaf.name}", leaf.dtype, old))
        written.append((f"next.{leaf.name}", leaf.dtype, new))
    for bind, held in ((binding.bind_input, read), (binding.bind_output, written)):
        for name, dtype, tensor in held:
            bind(name, device, 0, np.dtype(dtype), tuple(tensor.shape), tensor.data_ptr())
    return binding


def _run_options(turn: int) -> ort.RunOptions:
    options = ort.RunOptions()
    # One wait, for the stems, is enough.
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    # A graph per turn, which has other addresses; 0 is ONNX Runtime's own.
    options.add_run_config_entry("gpu_graph_id", str(turn + 1))
    return options
