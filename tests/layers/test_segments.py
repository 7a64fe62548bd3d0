"""Layers that see a whole segment, against torch's own or plain loops."""

from __future__ import annotations

import math

import pytest
import torch

from rtsep.layers import BidirectionalLSTM, ConvTranspose, LocalAttention, resampled


def plain(layer: BidirectionalLSTM) -> torch.nn.LSTM:
    """torch's module with the same parameters."""
    lstm = torch.nn.LSTM(
        layer.width, layer.width, len(layer.forwards), batch_first=True, bidirectional=True
    )
    for way, ours in (("", layer.forwards), ("_reverse", layer.backwards)):
        for k, one in enumerate(ours):
            for name, value in one.named_parameters():
                getattr(lstm, f"{name.removesuffix('0')}{k}{way}").data.copy_(value)
    return lstm


@torch.no_grad()
@pytest.mark.parametrize("layers", [1, 3])
def test_both_ways(layers: int) -> None:
    layer, x = BidirectionalLSTM(5, layers), torch.randn(2, 30, 5)
    torch.testing.assert_close(layer.segment(x), layer.product(plain(layer)(x)[0]))


@torch.no_grad()
@pytest.mark.parametrize("frames", [7, 8, 9, 12, 30, 33])
def test_in_pieces(frames: int) -> None:
    """Of each piece the middle half is kept, and the outer ends of the first and the last."""
    layer, x = BidirectionalLSTM(4, 1, pieces=8, residual=True), torch.randn(2, frames, 4)
    whole = lambda y: layer.product(plain(layer)(y)[0])  # noqa: E731
    expected = whole(x)
    if frames > 8:
        padded, count = torch.cat([x, torch.zeros(2, 16, 4)], 1), -(-frames // 4)
        for piece in range(count):
            y = whole(padded[:, 4 * piece : 4 * piece + 8])
            for i in range(0 if piece == 0 else 2, 8 if piece == count - 1 else 6):
                if 4 * piece + i < frames:
                    expected[:, 4 * piece + i] = y[:, i]
    torch.testing.assert_close(layer.segment(x), x + expected)


@torch.no_grad()
def test_attention() -> None:
    """Head by head and frame by frame."""
    layer, x = LocalAttention(6, heads=2, slopes=3), torch.randn(1, 9, 6)
    layer.penalty.weight.mul_(100)
    content, query, key, penalty = (
        part(x)[0].unflatten(-1, (2, -1))
        for part in (layer.content, layer.query, layer.key, layer.penalty)
    )
    attended = torch.zeros(9, 2, 3)
    for frame in range(9):
        for head in range(2):
            scores = key[:, head] @ query[frame, head] / math.sqrt(3)
            for other in range(9):
                for k in range(3):
                    slope = (k + 1) * torch.sigmoid(penalty[frame, head, k]) / 2 / math.sqrt(3)
                    scores[other] -= slope * abs(frame - other)
            scores[frame] = -100
            attended[frame, head] = scores.softmax(0) @ content[:, head]
    torch.testing.assert_close(layer.segment(x), x + layer.product(attended.flatten(1))[None])


def test_attention_wants_whole_heads() -> None:
    with pytest.raises(ValueError, match="5 does not fall into 4 heads"):
        LocalAttention(5)


@torch.no_grad()
@pytest.mark.parametrize("kernel, stride, trim", [(8, 4, 0), (8, 4, 2), (7, 3, 1), (4, 4, 0)])
def test_transposed_segment_is_cut_alike(kernel: int, stride: int, trim: int) -> None:
    layer, x = ConvTranspose(3, 2, kernel, stride, trim=trim), torch.randn(2, 11, 3)
    y = torch.nn.functional.conv_transpose1d(
        x.transpose(1, 2), layer.weight, layer.bias, stride, padding=trim
    )
    torch.testing.assert_close(layer.segment(x), y.transpose(1, 2))


@pytest.mark.parametrize("old, new", [(1, 2), (2, 1), (2, 3)])
def test_resampled_segment(old: int, new: int) -> None:
    """A tone stays that tone up to the ends, whose values are held; what is constant too."""
    layer = resampled(1, old, new)
    at = lambda rate: torch.cos(0.3 * torch.arange(400 * rate // old) * old / rate)  # noqa: E731
    y = layer.segment(at(old)[None, :, None])[0, :, 0]
    assert len(y) == 400 * new // old
    torch.testing.assert_close(y[100:-100], at(new)[100:-100], atol=2e-3, rtol=0)
    torch.testing.assert_close(layer.segment(torch.ones(1, 9, 1)), torch.ones(1, 9 * new // old, 1))
