"""The model's own step on an NVIDIA GPU, captured by hand as a CUDA graph.

Nothing is compiled, so nothing is kept: a start loads torch and captures. Captured in the thread
that builds the engine, which should be the one that runs it. Never run on a GPU yet (device.py).
"""

from __future__ import annotations

import torch

from rtsep.engines.device import DeviceBuffers, OnDevice
from rtsep.engines.protocol import Progress, StreamSpec
from rtsep.engines.source import Source
from rtsep.models.base import Separator
from rtsep.streaming import StateSpec

PRECISIONS = ("float32",)


def build(source: Source, chunk: int, batch: int, precision: str, progress: Progress) -> CudaGraph:
    spec = source.stream("cudagraph", chunk, batch, precision, device="cuda")
    progress(f"capturing {spec.model}")
    return CudaGraph(spec, source.network().cuda())


class CudaGraph(OnDevice):
    """`network` is on the device, and of the engine's own."""

    @torch.no_grad()
    def __init__(self, spec: StreamSpec, network: Separator) -> None:
        state, _ = network.initial(spec.batch)
        tree = StateSpec.of(state)
        buffers = DeviceBuffers(spec, tree.flatten(state))

        def step(turn: int) -> None:
            sound = buffers.mixture.transpose(1, 2)
            stems, following = network.step(sound, tree.unflatten(buffers.sets[turn]))
            buffers.stems.copy_(stems.permute(0, 2, 3, 1))
            for leaf, new in zip(buffers.sets[1 - turn], tree.flatten(following), strict=True):
                leaf.copy_(new)

        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            buffers.capture(step)
        # The graphs read the network's memory: it lives as long as they do.
        super().__init__(spec, buffers, network)
