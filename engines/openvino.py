"""The exported step in OpenVINO on the processor, one thread, nothing copied twice.

buffered.py holds sound and state, long pasts as rings; there is one request per turn, bound once.
OpenVINO's own state API is not used: it copies every state at each step, and knows no rings.

`bfloat16` is for processors that multiply it; `int8` keeps the weights of products as 8-bit
integers with a scale per output (quantise.py), which OpenVINO unpacks as it multiplies.
"""

from __future__ import annotations

from collections.abc import Sequence

import openvino as ov

from rtsep.engines import EXPORT, cache, state
from rtsep.engines.buffered import Buffered
from rtsep.engines.exported import exported
from rtsep.engines.protocol import Progress, StreamSpec
from rtsep.engines.source import Source
from rtsep.engines.state import Layout, Leaf
from rtsep.errors import Failure

PRECISIONS = ("float32", "bfloat16", "int8")
_LIBRARIES = (*EXPORT, "openvino")
_DEVICE = "CPU"


def build(source: Source, chunk: int, batch: int, precision: str, progress: Progress) -> OpenVino:
    """From the cache, without torch, where it was built before.

    Raises `Failure` for bfloat16 where the processor does not multiply it.
    """
    core = ov.Core()
    if precision == "bfloat16" and "BF16" not in core.get_property(
        _DEVICE, "OPTIMIZATION_CAPABILITIES"
    ):
        raise Failure(
            "engine openvino: this processor does not multiply bfloat16; it has float32 and int8"
        )
    spec = source.stream("openvino", chunk, batch, precision)
    key = cache.key_of(spec, _LIBRARIES)

    def load(parts: cache.Parts) -> OpenVino:
        try:
            compiled = core.import_model(parts["step.blob"], _DEVICE, _options(precision))
        except RuntimeError as error:
            raise cache.Refused(_last_line(error)) from None
        return OpenVino(spec, compiled, *state.read(parts["state.json"]))

    return cache.loaded(key, lambda: _compile(core, source, spec, progress), load, progress)


class OpenVino(Buffered):
    def __init__(
        self,
        spec: StreamSpec,
        compiled: ov.CompiledModel,
        leaves: Sequence[Leaf],
        rings: Sequence[Layout],
    ) -> None:
        super().__init__(spec, leaves, rings)
        self._requests = [self._request(compiled, turn) for turn in range(self._turns)]

    def close(self) -> None:
        super().close()
        self._requests = []

    def _run(self, turn: int) -> None:
        self._requests[turn].infer(share_outputs=True, decode_strings=False)

    def _request(self, compiled: ov.CompiledModel, turn: int) -> ov.InferRequest:
        """Bound to what the step of a turn reads and writes."""
        read, written = self._views(turn)
        request = compiled.create_infer_request()
        for name, array in (read | written).items():
            request.set_tensor(name, ov.Tensor(array, shared_memory=True))
        return request


def _compile(core: ov.Core, source: Source, spec: StreamSpec, progress: Progress) -> cache.Parts:
    """The parts of a cache entry: the compiled model, and the state it starts from."""
    import onnx_ir

    from rtsep.engines import quantise, rewrite

    model, leaves = exported(source, spec.chunk, spec.batch, progress)
    leaves, rings = rewrite.optimise(model, leaves)
    if spec.precision == "int8":
        quantise.weights(model.graph)
    progress(f"compiling {len(model.graph)} operations with openvino")
    try:
        read = core.read_model(onnx_ir.to_proto(model).SerializeToString())
        compiled = core.compile_model(read, _DEVICE, _options(spec.precision))
        blob = compiled.export_model()
    except RuntimeError as error:
        raise Failure(f"engine openvino can't run {spec.model}: {_last_line(error)}") from None
    return {"step.blob": blob.getvalue(), "state.json": state.written(leaves, rings)}


def _options(precision: str) -> dict[str, str | int | bool]:
    return {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
        "CPU_DENORMALS_OPTIMIZATION": True,
        # Only weights are integers: activations stay as they are, in every row by themselves.
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    }


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
