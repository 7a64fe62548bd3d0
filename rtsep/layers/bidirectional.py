"""An LSTM that runs both ways through a segment: for networks that run in blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rtsep.layers.recurrence import LSTM
from rtsep.streaming.layer import StreamingLayer


class BidirectionalLSTM(StreamingLayer):
    """Both ways through (batch, frames, width), and a product back to `width`.

    The "BLSTM" of Demucs (Defossez et al. 2019; in pieces since Defossez 2021). It has no step:
    `segment` alone.

    Args:
        layers: each sees both directions of the one before.
        pieces: frames of the pieces that a longer segment is cut into, half of which overlaps; of
            each the middle half is kept. 0 does not cut.
        residual: whether the input is added.
    """

    def __init__(self, width: int, layers: int, *, pieces: int = 0, residual: bool = False) -> None:
        super().__init__()
        self.width, self.pieces, self.residual = width, pieces, residual
        self.inputs = self.outputs = (width,)
        self.forwards = nn.ModuleList(LSTM(width * (1 + (k > 0)), width) for k in range(layers))
        self.backwards = nn.ModuleList(LSTM(width * (1 + (k > 0)), width) for k in range(layers))
        self.product = nn.Linear(2 * width, width)

    def segment(self, x: Tensor) -> Tensor:
        if self.pieces and x.shape[1] > self.pieces:
            y = self._in_pieces(x)
        else:
            y = self._both_ways(x)
        return x + y if self.residual else y

    def _both_ways(self, x: Tensor) -> Tensor:
        for onward, back in zip(self.forwards, self.backwards, strict=True):
            x = torch.cat([onward(x), back(x.flip(1)).flip(1)], -1)
        return self.product(x)

    def _in_pieces(self, x: Tensor) -> Tensor:
        batch, frames, _ = x.shape
        hop = self.pieces // 2
        count = -(-frames // hop)
        missing = (count - 1) * hop + self.pieces - frames
        halves = torch.cat([x, x.new_zeros(batch, missing, self.width)], 1).unflatten(1, (-1, hop))
        pieces = torch.cat([halves[:, :-1], halves[:, 1:]], 2)
        y = self._both_ways(pieces.flatten(0, 1)).unflatten(0, (batch, count))
        # The middle of each, and both ends of the whole.
        middle = y[:, :, hop // 2 : hop // 2 + hop].flatten(1, 2)
        whole = torch.cat([y[:, 0, : hop // 2], middle, y[:, -1, hop // 2 + hop :]], 1)
        return whole[:, :frames]
