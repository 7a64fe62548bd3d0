"""Networks that see a whole segment, run in blocks, of which one is the recorded segment."""

from __future__ import annotations

import torch

from parity.form import close, outside
from parity.vectors import Vector
from rtsep import create
from rtsep.models.base import Separator


def check_in_blocks(vector: Vector, model: Separator, seed: int, lost: int = 0) -> None:
    """Streams the segment so that the last block's window is the segment.

    What that block gives is compared, but for the samples that fade in over the block before. For
    seed 0 the one block is all of the segment, but for what the public form loses at either end;
    for other seeds hop, look-ahead and cross-fade are drawn.
    """
    samples = vector.mixture.shape[1]
    random = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=random))

    hop, lookahead, crossfade = samples - 2 * lost, lost, 0
    if seed:
        hop = draw(samples // 8, samples // 2)
        crossfade = draw(0, hop // 4)
        lookahead = draw(lost, samples - lost - hop - crossfade)
    blocks = {"window": samples, "hop": hop, "lookahead": lookahead, "crossfade": crossfade}
    blockwise = create(model.arch, **(model.params | {"blocks": blocks})).eval()
    blockwise.load_state_dict(_by_place(model, blockwise))
    assert (blockwise.hop, blockwise.latency) == (hop, lookahead + crossfade)

    count = -(-samples // hop)
    before = vector.mixture.new_zeros(
        vector.mixture.shape[0], count * hop - samples, model.channels
    )
    x, state, y = torch.cat([before, vector.mixture], 1), blockwise.initial(len(before))[0], None
    for block in range(count):
        y, state = blockwise.step(x[:, block * hop : (block + 1) * hop], state)
    first, last = samples - lookahead - hop - lost, samples - lookahead - crossfade - lost
    expected = vector.tensors["output"][..., first:last]
    close("in blocks", outside(y)[..., crossfade:], expected, vector.bound())


def _by_place(model: Separator, other: Separator) -> dict:
    """The weights of `model` by the names of `other`, whose layers stand in the same order."""
    values = model.state_dict().values()
    return dict(zip(other.state_dict(), values, strict=True))
