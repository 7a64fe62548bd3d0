"""Blocks for the twins: a window cut out of the whole signal for every hop, and cross-faded."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def in_blocks(
    segment: Callable[[Tensor], Tensor],
    mixture: Tensor,
    *,
    window: int,
    hop: int,
    lookahead: int,
    crossfade: int,
) -> Tensor:
    """(batch, channels, samples) to what `segment` makes of windows, (batch, …, samples).

    Block `b` begins with sample `b hop - lookahead - crossfade`, as much of which as crosses is
    faded in. `segment` may lose samples at the ends of a window, as many at either.
    """
    samples = mixture.shape[-1]
    blocks = -(-(samples + lookahead + crossfade) // hop)
    filled = F.pad(mixture, (window - hop, blocks * hop - samples))
    rise = (torch.arange(crossfade, dtype=mixture.dtype) + 0.5) / max(crossfade, 1)
    late = lookahead + crossfade
    y: Tensor | None = None
    for b in range(blocks):
        made = segment(filled[..., b * hop : b * hop + window])
        lost = (window - made.shape[-1]) // 2
        first = window - late - hop - lost
        piece = made[..., first : first + hop + crossfade].clone()
        if y is None:
            # After the last block, room for what it fades out over.
            y = piece.new_zeros(*piece.shape[:-1], blocks * hop + crossfade)
        if crossfade:
            piece[..., :crossfade] *= rise
            piece[..., hop:] *= 1 - rise
        y[..., b * hop : b * hop + hop + crossfade] += piece
    return y[..., late : late + samples]
