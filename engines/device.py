"""Memory and launches of engines on an NVIDIA GPU: one CUDA graph per step, one wait.

State lies on the device in two sets that take turns. For each turn one graph holds the copy from
pinned memory, the step and the copy back, captured on a stream of high priority. Never run on a
GPU yet: no machine that rtsep was made on has one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from rtsep.engines.protocol import StreamSpec, check_buffers, check_rows, paused_rows
from rtsep.engines.state import Leaf

_WARM_UP = 3


class DeviceBuffers:
    """What `process` and `reset` of an engine on the device do, but for the step itself."""

    def __init__(self, spec: StreamSpec, fresh: Sequence[Tensor]) -> None:
        """`fresh` is the state before the first step, on the device."""
        self._spec, self._fresh = spec, fresh
        self.stream = torch.cuda.Stream(priority=-1)
        self.mixture = torch.zeros(spec.mixture_shape, device="cuda")
        self.stems = torch.zeros(spec.stems_shape, device="cuda")
        # The step of turn k reads sets[k] and writes the other.
        self.sets = [[leaf.clone() for leaf in fresh] for _ in range(2)]
        self._given = torch.zeros(spec.mixture_shape).pin_memory()
        self._taken = torch.zeros(spec.stems_shape).pin_memory()
        self._done = torch.cuda.Event()
        self._graphs: list[torch.cuda.CUDAGraph] = []
        self._turn = 0

    @torch.no_grad()
    def capture(self, step: Callable[[int], None]) -> None:
        """`step` puts the step of a turn on the current stream; call it once, before `process`."""
        self.stream.wait_stream(torch.cuda.current_stream())
        for turn in range(2):
            with torch.cuda.stream(self.stream):
                for _ in range(_WARM_UP):
                    step(turn)
            self.stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self.stream):
                self.mixture.copy_(self._given, non_blocking=True)
                step(turn)
                self._taken.copy_(self.stems, non_blocking=True)
            self._graphs.append(graph)
        self.reset()

    @torch.no_grad()
    def process(
        self, mixture: np.ndarray, stems: np.ndarray, active: Sequence[bool] | None
    ) -> None:
        check_buffers(self._spec, mixture, stems)
        paused = paused_rows(self._spec, active)
        if len(paused) == self._spec.batch:
            stems[:] = 0
            return
        np.copyto(self._given.numpy(), mixture, casting="same_kind")
        before, after = self.sets[self._turn], self.sets[1 - self._turn]
        with torch.cuda.stream(self.stream):
            self._graphs[self._turn].replay()
            for row in paused:
                for old, new in zip(before, after, strict=True):
                    new[row].copy_(old[row])
            self._done.record()
        self._turn = 1 - self._turn
        self._done.synchronize()
        np.copyto(stems, self._taken.numpy())
        stems[paused] = 0

    @torch.no_grad()
    def reset(self, rows: Sequence[int] | None = None) -> None:
        """As new; or just those rows."""
        if rows is not None:
            check_rows(self._spec, rows)
        with torch.cuda.stream(self.stream):
            for leaf, fresh in zip(self.sets[self._turn], self._fresh, strict=True):
                for row in range(self._spec.batch) if rows is None else rows:
                    leaf[row].copy_(fresh[row])
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
