"""Memory and launches of engines on an NVIDIA GPU: one CUDA graph per step, one wait.

State lies on the device in two sets that take turns. For each turn one graph holds the copy from
pinned memory, the step and the copy back, captured on a stream of high priority; a library that
keeps graphs of its own is called between the copies instead. Never run on a GPU yet: no machine
that rtsep was made on has one. With a spec for "cpu" all but the streams and graphs is the same,
and so the tests run it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from rtsep.engines.base import Base
from rtsep.engines.protocol import StreamSpec
from rtsep.engines.state import Leaf

_WARM_UP = 3


class OnDevice(Base):
    """An engine of what was captured in `buffers`; `held` is all else that the graphs use."""

    def __init__(self, spec: StreamSpec, buffers: DeviceBuffers, held: object) -> None:
        super().__init__(spec)
        self._buffers, self._held = buffers, held

    def close(self) -> None:
        super().close()
        self._buffers = self._held = None

    def _advance(self, mixture: np.ndarray, stems: np.ndarray, paused: Sequence[int]) -> None:
        self._buffers.process(mixture, stems, paused)

    def _restart(self, rows: Sequence[int]) -> None:
        self._buffers.reset(rows)


class DeviceBuffers:
    """Sound and state on a spec's device, and what launches the step of each turn there."""

    def __init__(self, spec: StreamSpec, fresh: Sequence[Tensor]) -> None:
        """`fresh` is the state before the first step, on the device."""
        gpu = spec.device == "cuda"
        self._fresh = fresh
        # None on a processor, which does one thing after the other anyway.
        self.stream = torch.cuda.Stream(priority=-1) if gpu else None
        self.mixture = torch.zeros(spec.mixture_shape, device=spec.device)
        self.stems = torch.zeros(spec.stems_shape, device=spec.device)
        # The step of turn k reads sets[k] and writes the other.
        self.sets = [[leaf.clone() for leaf in fresh] for _ in range(2)]
        self._given = torch.zeros(spec.mixture_shape, pin_memory=gpu)
        self._taken = torch.zeros(spec.stems_shape, pin_memory=gpu)
        self._launches: list[Callable[[], None]] = []
        self._turn = 0

    @torch.no_grad()
    def capture(self, step: Callable[[int], None]) -> None:
        """`step` puts the step of a turn on the current stream; call it once, before `process`."""
        self._warm_up(step)
        for turn in range(2):
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self.stream):
                self._copied(step, turn)
            self._launches.append(graph.replay)
        self.reset(range(len(self.mixture)))

    @torch.no_grad()
    def call(self, step: Callable[[int], None]) -> None:
        """As `capture`, for a `step` that has to be called each time, and puts it on `stream`."""
        self._warm_up(step)
        self._launches = [partial(self._copied, step, turn) for turn in range(2)]
        self.reset(range(len(self.mixture)))

    @torch.no_grad()
    def process(self, mixture: np.ndarray, stems: np.ndarray, paused: Sequence[int]) -> None:
        np.copyto(self._given.numpy(), mixture, casting="same_kind")
        before, after = self.sets[self._turn], self.sets[1 - self._turn]
        with torch.cuda.stream(self.stream):
            self._launches[self._turn]()
            for row in paused:
                for old, new in zip(before, after, strict=True):
                    new[row].copy_(old[row])
        self._turn = 1 - self._turn
        self._wait()
        np.copyto(stems, self._taken.numpy())

    @torch.no_grad()
    def reset(self, rows: Sequence[int]) -> None:
        with torch.cuda.stream(self.stream):
            for leaf, fresh in zip(self.sets[self._turn], self._fresh, strict=True):
                for row in rows:
                    leaf[row].copy_(fresh[row])
        self._wait()

    def _warm_up(self, step: Callable[[int], None]) -> None:
        """Libraries choose their kernels, and capture graphs of their own, in the first steps."""
        if self.stream is not None:
            self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            for turn in (0, 1) * _WARM_UP:
                step(turn)
        self._wait()

    def _copied(self, step: Callable[[int], None], turn: int) -> None:
        self.mixture.copy_(self._given, non_blocking=True)
        step(turn)
        self._taken.copy_(self.stems, non_blocking=True)

    def _wait(self) -> None:
        if self.stream is not None:
            self.stream.synchronize()


def tensors(leaves: Sequence[Leaf], device: str = "cpu") -> list[Tensor]:
    """The state before the first step, as its description has it."""
    found = []
    for leaf in leaves:
        row = np.array(leaf.fresh, leaf.dtype)
        row = row.reshape(leaf.shape[1:]) if row.ndim else np.broadcast_to(row, leaf.shape[1:])
        found.append(torch.from_numpy(np.stack([row] * leaf.shape[0])).to(device))
    return found


def name() -> str:
    """The GPU that is used, as part of a cache's key."""
    major, minor = torch.cuda.get_device_capability()
    return f"{torch.cuda.get_device_name()} {major}.{minor}"
