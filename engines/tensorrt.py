"""The exported step in TensorRT, or in TensorRT for RTX, on an NVIDIA GPU.

`plan` makes TensorRT's engine of a step; with TensorRT for RTX that needs no GPU, and the tests
make one of every architecture. What runs it was never run on a GPU yet (device.py): compare it
with eager before you rely on it.

LSTMs are unrolled (unroll.py): as layers of their own they make TensorRT for RTX's engines of
small models 160 MB large, and their loops can't be captured as a CUDA graph on every version.
Networks are strongly typed: in float16 and bfloat16 the products are, and the rest is float32.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

import torch

from rtsep.engines import EXPORT, cache, state
from rtsep.engines.device import DeviceBuffers, OnDevice, name, tensors
from rtsep.engines.exported import exported
from rtsep.engines.protocol import Progress, StreamSpec
from rtsep.engines.requirements import TENSORRT
from rtsep.engines.source import Source
from rtsep.engines.state import Leaf
from rtsep.errors import Failure

if TYPE_CHECKING:
    import onnx_ir as ir

PRECISIONS = ("float32", "float16", "bfloat16")
_PACKAGES = ("tensorrt-rtx-cu12", "tensorrt-rtx-cu13", "tensorrt", "tensorrt-cu12", "tensorrt-cu13")


def build(source: Source, chunk: int, batch: int, precision: str, progress: Progress) -> TensorRT:
    """From the cache where it was built before, for this GPU."""
    spec = source.stream("tensorrt", chunk, batch, precision, device="cuda")
    trt = module()
    key = cache.key_of(spec, (*EXPORT, *_PACKAGES), module=trt.__name__, gpu=name())
    kernels = _Kernels(f"{key}.kernels")

    def load(parts: cache.Parts) -> TensorRT:
        leaves, _ = state.read(parts["state.json"])
        runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        engine = runtime.deserialize_cuda_engine(parts["step.plan"])
        if engine is None:
            raise cache.Refused(f"{trt.__name__} {trt.__version__} does not read it")
        return TensorRT(spec, runtime, engine, leaves, kernels)

    return cache.loaded(key, lambda: plan(source, spec, progress, _capability(trt)), load, progress)


class TensorRT(OnDevice):
    """A context per turn, so that no address changes once it is captured."""

    def __init__(
        self, spec: StreamSpec, runtime, engine, leaves: Sequence[Leaf], kernels: _Kernels
    ) -> None:
        buffers = DeviceBuffers(spec, tensors(leaves, "cuda"))
        contexts = kernels.contexts(engine, 2)
        for turn, context in enumerate(contexts):
            context.set_tensor_address("mixture", buffers.mixture.data_ptr())
            context.set_tensor_address("stems", buffers.stems.data_ptr())
            states = zip(leaves, buffers.sets[turn], buffers.sets[1 - turn], strict=True)
            for leaf, old, new in states:
                context.set_tensor_address(f"state.{leaf.name}", old.data_ptr())
                context.set_tensor_address(f"next.{leaf.name}", new.data_ptr())

        def step(turn: int) -> None:
            if not contexts[turn].execute_async_v3(torch.cuda.current_stream().cuda_stream):
                raise Failure(f"engine tensorrt can't run {spec.model}: its log says more")

        buffers.capture(step)
        kernels.keep()
        # The graphs use the contexts' memory; contexts must go before their engine and runtime.
        super().__init__(spec, buffers, (contexts, engine, runtime))


def module() -> ModuleType:
    """TensorRT for RTX, or TensorRT: whichever is installed, in this order."""
    return import_module(next(found for found in TENSORRT if find_spec(found)))


def plan(
    source: Source, spec: StreamSpec, progress: Progress, capability: str | None = None
) -> cache.Parts:
    """The parts of a cache entry: TensorRT's engine, and the state it starts from.

    `capability` is a name of TensorRT for RTX's `ComputeCapability`; None is what it takes by
    itself. Raises `Failure` where TensorRT does not take the step.
    """
    trt = module()
    graph, leaves = step_graph(source, spec, progress)
    with definition(trt, graph, spec) as (builder, network, config):
        progress(f"building {network.num_layers} layers with {trt.__name__} {trt.__version__}")
        if capability is not None:
            config.num_compute_capabilities = 1
            config.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)
        made = builder.build_serialized_network(network, config)
        bindings = _bindings(network)
    if made is None:
        raise Failure(f"engine tensorrt can't build {spec.model}: its log says more")
    return {
        "step.plan": bytes(made),
        "state.json": state.written(leaves),
        "bindings.json": json.dumps(bindings).encode(),
    }


@contextmanager
def definition(trt: ModuleType, graph: ir.Model, spec: StreamSpec) -> Iterator[tuple]:
    """TensorRT's builder, network and configuration of a step, ready to be built."""
    import onnx_ir

    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx_ir.to_proto(graph).SerializeToString()):
        reason = parser.get_error(0).desc().splitlines()[0]
        raise Failure(f"engine tensorrt does not take {spec.model}: {reason}")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    yield builder, network, config


def _bindings(network) -> dict[str, list]:
    """Name to type and shape, of what goes in and out."""
    given = [network.get_input(index) for index in range(network.num_inputs)]
    made = [network.get_output(index) for index in range(network.num_outputs)]
    return {tensor.name: [tensor.dtype.name, list(tensor.shape)] for tensor in given + made}


def step_graph(source: Source, spec: StreamSpec, progress: Progress) -> tuple[ir.Model, list[Leaf]]:
    """The exported step as TensorRT gets it, and its leaves."""
    from onnx_ir.passes import common

    from rtsep.engines import quantise, unroll

    model, leaves = exported(source, spec.chunk, spec.batch, progress)
    common.ShapeInferencePass()(model)
    unroll.lstms(model.graph)
    if spec.precision != "float32":
        quantise.products(model.graph, spec.precision)
    return model, leaves


def _capability(trt: ModuleType) -> str | None:
    """The GPU's own where TensorRT for RTX can build for it alone."""
    named = "SM{}{}".format(*torch.cuda.get_device_capability())
    return named if hasattr(getattr(trt, "ComputeCapability", None), named) else None


class _Kernels:
    """What TensorRT for RTX compiles at its first step, kept for the next start."""

    def __init__(self, key: str) -> None:
        self._key, self._cache = key, None

    def contexts(self, engine, count: int) -> list:
        if not hasattr(engine, "create_runtime_config"):
            return [engine.create_execution_context() for _ in range(count)]
        config = engine.create_runtime_config()
        if hasattr(config, "create_runtime_cache"):
            self._cache = config.create_runtime_cache()
            if parts := cache.read(self._key):
                self._cache.deserialize(parts["kernels"])
            config.set_runtime_cache(self._cache)
        return [engine.create_execution_context(config) for _ in range(count)]

    def keep(self) -> None:
        if self._cache is not None and cache.read(self._key) is None:
            try:
                cache.write(self._key, {"kernels": bytes(self._cache.serialize())})
            except OSError:
                pass  # compiled again next time
