"""A network that must see the future, run again and again over a window that slides."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rtsep.streaming.layer import StreamingLayer
from rtsep.streaming.state import (
    State,
    live_frames,
    next_countdown,
    silence,
    start_countdown,
)


class Blockwise(StreamingLayer):
    """`network` over the latest `window` frames, every `hop` frames; results are cross-faded.

    Of each run only the `hop + crossfade` frames are used that end `lookahead` frames before the
    window does; the first `crossfade` of them fade in, linearly, over what the run before gave for
    the same time. So an output is late by `lookahead + crossfade` and has heard at least
    `lookahead` frames beyond itself and `window - hop - lookahead - crossfade` before.

    Args:
        network: a function of a whole window, (batch, window, *inputs) to (batch, window,
            *outputs), its frames aligned. It is given zeros for what lies before the sound.
        window, hop, lookahead, crossfade: in frames; `crossfade <= hop` and
            `window >= hop + lookahead + crossfade`.
        inputs, outputs: the shapes of a frame; None for `network`'s own attributes of that name.

    The cost is `window / hop` times the network's own.
    """

    def __init__(
        self,
        network: nn.Module,
        window: int,
        hop: int,
        lookahead: int,
        crossfade: int,
        *,
        inputs: tuple[int, ...] | None = None,
        outputs: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        _check(window, hop, lookahead, crossfade)
        self.network = network
        self.window, self.hop = window, hop
        self.lookahead, self.crossfade = lookahead, crossfade
        self.inputs = tuple(network.inputs if inputs is None else inputs)
        self.outputs = tuple(network.outputs if outputs is None else outputs)

    def initial(self, batch: int, onset: int = 0) -> tuple[State, int]:
        # The first block begins with the sound, however late that is in the stream.
        extra = -onset % self.hop
        out = onset + extra + self.lookahead + self.crossfade
        state = {
            "past": self.zeros(batch, self.window - self.hop + extra, *self.inputs),
            "tail": self.zeros(batch, self.crossfade, *self.outputs),
        }
        return state | start_countdown(batch, out, self.device), out

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        frames = x.shape[1]
        joined = torch.cat([state["past"], x], 1)
        tail, blocks = state["tail"], []
        for start in range(0, frames, self.hop):
            block, tail = self._block(joined[:, start : start + self.window], tail)
            blocks.append(block)
        y = silence(torch.cat(blocks, 1), live_frames(state, frames))
        following = {"past": joined[:, frames:], "tail": tail}
        return y, following | next_countdown(state, frames)

    def segment(self, x: Tensor) -> Tensor:
        """One window, however long."""
        return self.network(x)

    def _block(self, window: Tensor, tail: Tensor) -> tuple[Tensor, Tensor]:
        """The next `hop` frames, and what the next block fades in over."""
        end = self.window - self.lookahead
        fresh = self.network(window)[:, end - self.hop - self.crossfade : end]
        if not self.crossfade:
            return fresh, tail
        rise = _rise(self.crossfade, fresh)
        faded = tail + (fresh[:, : self.crossfade] - tail) * rise
        block = torch.cat([faded, fresh[:, self.crossfade : self.hop]], 1)
        return block, fresh[:, self.hop :]


class Segment(nn.Module):
    """A layer as `Blockwise` runs it: each window is a segment that is all there is.

    Where the layer gives fewer frames than the window has, the same number is lost at either end,
    and stands there as zeros.
    """

    def __init__(self, layer: StreamingLayer) -> None:
        super().__init__()
        self.layer = layer
        self.inputs, self.outputs = layer.inputs, layer.outputs

    def forward(self, window: Tensor) -> Tensor:
        y = self.layer.segment(window)
        lost = window.shape[1] - y.shape[1]
        if not lost:
            return y
        before = y.new_zeros(y.shape[0], lost // 2, *y.shape[2:])
        after = y.new_zeros(y.shape[0], lost - lost // 2, *y.shape[2:])
        return torch.cat([before, y, after], 1)


def _rise(frames: int, like: Tensor) -> Tensor:
    """(frames, 1, ...) from 0 to 1, symmetrical, so that its mirror image is 1 less itself."""
    rise = (torch.arange(frames, dtype=like.dtype, device=like.device) + 0.5) / frames
    return rise.view(-1, *[1] * (like.dim() - 2))


def _check(window: int, hop: int, lookahead: int, crossfade: int) -> None:
    if hop < 1 or lookahead < 0 or crossfade < 0:
        raise ValueError(
            f"hop {hop}, lookahead {lookahead}, crossfade {crossfade}: at least 1, 0 and 0 frames"
        )
    if crossfade > hop:
        raise ValueError(f"a cross-fade of {crossfade} frames is longer than the hop of {hop}")
    if window < (least := hop + lookahead + crossfade):
        raise ValueError(
            f"a window of {window} frames is shorter than hop, lookahead and cross-fade: {least}"
        )
