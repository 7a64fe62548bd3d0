"""Windows that slide, against plain overlapping blocks; and that nobody hears their edges."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from rtsep.layers import Conv
from rtsep.streaming import Blockwise, Serial, verify_streaming


class Whole(nn.Module):
    """Normalises the whole window, convolves it both ways in time, and gives two outputs each."""

    inputs, outputs = (3,), (2, 3)

    def forward(self, x: Tensor) -> Tensor:
        mean, deviation = x.mean((1, 2), keepdim=True), x.std((1, 2), keepdim=True)
        y = (x - mean) / (1e-3 + deviation)
        y = y + 0.5 * F.pad(y, (0, 0, 0, 2))[:, 2:] - 0.3 * F.pad(y, (0, 0, 3, 0))[:, :-3]
        return torch.stack([y * deviation, y.sin() + 0.1], 2)


def plain(x: Tensor, layer: Blockwise) -> Tensor:
    """Every block on its own, its frames weighted and summed where they lie in time."""
    batch, frames = x.shape[:2]
    window, hop, fade = layer.window, layer.hop, layer.crossfade
    late = layer.lookahead + fade
    count = -(-(frames + late) // hop)
    padded = F.pad(x, (0, 0, window - hop, count * hop - frames))
    y = x.new_zeros(batch, count * hop + late, *layer.outputs)
    ramp = (torch.arange(fade, dtype=x.dtype) + 0.5) / fade
    weight = torch.cat([ramp, torch.ones(hop - fade, dtype=x.dtype), ramp.flip(0)])
    for block in range(count):
        out = layer.network(padded[:, block * hop : block * hop + window])
        end = window - layer.lookahead
        section = out[:, end - hop - fade : end] * weight[:, None, None]
        y[:, block * hop : block * hop + hop + fade] += section
    return y[:, late : late + frames]


@st.composite
def sizes(draw) -> dict[str, int]:
    hop = draw(st.integers(1, 7))
    crossfade = draw(st.integers(0, hop))
    lookahead = draw(st.integers(0, 9))
    window = hop + crossfade + lookahead + draw(st.integers(2, 12))
    return {"window": window, "hop": hop, "lookahead": lookahead, "crossfade": crossfade}


@settings(max_examples=25, deadline=None)
@given(sizes(), st.integers(0, 9))
def test_any_sizes(size: dict[str, int], onset: int) -> None:
    layer = Blockwise(Whole(), **size)
    report = verify_streaming(layer, onset=onset, hops=20, twin=lambda x: plain(x, layer))
    assert report.measured_latency == size["lookahead"] + size["crossfade"]


def test_in_float32() -> None:
    verify_streaming(Blockwise(Whole(), 20, 5, 6, 3), dtype=torch.float32)


def test_among_other_layers() -> None:
    """Behind a layer that is late by less than a hop, the blocks still begin with the sound."""
    before, layer = Conv(3, 3, 3, padding=0), Blockwise(Whole(), 20, 5, 6, 3)

    def twin(x: Tensor) -> Tensor:
        weight, bias = before.weight.double(), before.bias.double()
        y = F.conv1d(F.pad(x.transpose(1, 2), (0, 2)), weight, bias).transpose(1, 2)
        return plain(torch.cat([y, y.new_zeros(y.shape[0], 60, 3)], 1), layer)[:, : x.shape[1]]

    whole, _ = Serial(before, layer).initial(1)
    x = torch.randn(2, 60, 3, dtype=torch.float64)
    chain = Serial(before, layer).double()
    # Where the plain convolution's own end, which is not in the stream, is not yet in a window.
    torch.testing.assert_close(chain(x)[:, :45], twin(x)[:, :45])
    assert chain.initial(1)[1] == 5 + 6 + 3
    verify_streaming(chain)


def test_equals_a_network_of_finite_reach() -> None:
    """Where windows hold all that a frame depends on, the blocks are exactly the whole."""
    network = Conv(2, 2, 9, padding=4)
    layer = Blockwise(network, 24, 6, 4, 3)
    x = torch.randn(1, 200, 2)
    torch.testing.assert_close(layer(x), network(x))


@pytest.mark.parametrize("crossfade, heard", [(0, True), (200, False)])
def test_steady_tone_has_no_steps(crossfade: int, heard: bool) -> None:
    """Every block has its window's own level; the cross-fade takes the steps out.

    A step bends the waveform far more than the tone itself does, which a second difference shows.
    """
    rate, hop = 16000, 400
    time = torch.arange(rate)[None, :, None] / rate
    # The window is no whole number of periods: mean and deviation differ from block to block.
    tone = torch.sin(2 * math.pi * 97 * time).repeat(1, 1, 3).double()
    layer = Blockwise(Whole(), 1000, hop, 300, crossfade).double()
    y = layer(tone)[0, 2000:-2000, 0, 0]
    bend = y.diff(n=2).abs().max() / y.abs().max()
    own = (2 * math.pi * 97 / rate) ** 2
    print(f"bends {bend / own:.2f} times as much as the tone")
    assert (bend > 2 * own) == heard
    if not heard:
        assert bend < 1.1 * own


@pytest.mark.parametrize(
    "size, said",
    [
        ((20, 0, 1, 0), "at least 1"),
        ((20, 4, -1, 0), "at least 1"),
        ((20, 4, 1, -1), "at least 1"),
        ((20, 4, 1, 5), "longer than the hop of 4"),
        ((10, 4, 4, 3), "hop, lookahead and cross-fade: 11"),
    ],
)
def test_refuses(size: tuple[int, int, int, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Blockwise(Whole(), *size)
