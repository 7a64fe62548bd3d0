"""Decimation and interpolation against loops over frames, and against torch's convolutions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rtsep.layers import Decimate, GroupNorm, Interpolate, Lowpass, ZeroStuff
from rtsep.streaming import Pointwise, Serial, Skip, verify_streaming

quick = settings(max_examples=15, deadline=None)


@st.composite
def phases(draw) -> tuple[int, int]:
    stride = draw(st.integers(1, 4))
    return stride, draw(st.integers(0, stride - 1))


@quick
@given(phases(), st.integers(0, 9))
def test_decimate(form: tuple[int, int], onset: int) -> None:
    stride, phase = form
    layer = Decimate(2, stride, phase)
    report = verify_streaming(layer, onset=onset, twin=lambda x: x[:, phase::stride])
    assert report.measured_latency == 0


def plain_line(x: Tensor, stride: int, phase: int) -> Tensor:
    """Frame `j` at `stride * j + phase`, straight lines between, silence before frame 0."""
    batch, frames, channels = x.shape
    y = torch.zeros(batch, frames * stride, channels, dtype=x.dtype)
    padded = torch.cat([torch.zeros_like(x[:, :1]), x, torch.zeros_like(x[:, :1])], 1)
    for at in range(y.shape[1]):
        before, part = divmod(at - phase, stride)
        weight = part / stride
        y[:, at] = (1 - weight) * padded[:, before + 1] + weight * padded[:, before + 2]
    return y


@quick
@given(phases(), st.integers(0, 9))
def test_interpolate(form: tuple[int, int], onset: int) -> None:
    stride, phase = form
    layer = Interpolate(2, stride, phase)
    report = verify_streaming(
        layer, hops=30, onset=onset, twin=lambda x: plain_line(x, stride, phase)
    )
    assert report.measured_latency == stride - 1 - phase


@pytest.mark.parametrize("phase", [0, 1, 2])
def test_skip_around_both_is_aligned(phase: int) -> None:
    """Every kept frame comes back where it was, so it is twice what it was."""
    inner = Serial(Decimate(2, 3, phase), Pointwise(torch.clone, (2,)), Interpolate(2, 3, phase))
    layer = Skip(inner, torch.add, (2,))
    report = verify_streaming(layer, onset=4)
    assert report.declared_latency == 2 - phase
    x = torch.randn(1, 31, 2)
    torch.testing.assert_close(layer(x)[:, phase:30:3], 2 * x[:, phase:30:3])


@quick
@given(st.integers(1, 4), st.integers(0, 5))
def test_zeros_and_filter(stride: int, onset: int) -> None:
    layer = Serial(ZeroStuff(2, stride), Lowpass(2, 7))
    weight = layer.layers[1].weight.double()

    def twin(x: Tensor) -> Tensor:
        y = F.conv_transpose1d(x.transpose(1, 2), weight.flip(-1), stride=stride, groups=2)
        y = F.pad(y, (0, stride))[..., 3 : 3 + x.shape[1] * stride]
        return y.transpose(1, 2)

    report = verify_streaming(layer, hops=20, onset=onset, twin=twin)
    assert report.measured_latency == 3


def test_segments_reflect_their_ends() -> None:
    """Down and up by a filter whose ends are reflected, in samples counted from 1."""
    x = torch.randn(2, 25, 3)
    down = Serial(Lowpass(3, 7), Decimate(3, 3, 0))
    up = Serial(ZeroStuff(3, 3), Lowpass(3, 7))
    padded = F.pad(x.transpose(1, 2), (3, 3), mode="reflect")
    fewer = F.conv1d(padded, down.layers[0].weight, stride=3, groups=3)
    torch.testing.assert_close(down.segment(x), fewer.transpose(1, 2))
    padded = F.pad(fewer, (3, 3), mode="reflect")
    more = F.conv_transpose1d(padded, up.layers[1].weight.flip(-1), stride=3, groups=3)
    cut = (more.shape[-1] - 25) // 2
    torch.testing.assert_close(up.segment(down.segment(x)), more[..., cut:-cut].transpose(1, 2))


@pytest.mark.parametrize("phase", [0, 2])
def test_segment_of_lines(phase: int) -> None:
    x = torch.randn(2, 5, 3)
    expected = F.interpolate(x.transpose(1, 2), 13, mode="linear", align_corners=True)
    torch.testing.assert_close(Interpolate(3, 3, phase).segment(x), expected.transpose(1, 2))


def test_branches_of_a_segment_meet_in_the_middle() -> None:
    """What a valid filter loses at either end, the branch beside it loses too."""

    class Ends(Pointwise):
        def segment(self, x: Tensor) -> Tensor:
            return x[:, 2:-2]

    layer = Skip(Ends(torch.clone, (2,)), torch.sub, (2,))
    assert not layer.segment(torch.randn(1, 9, 2)).any()


def test_group_norm() -> None:
    norm = GroupNorm(3, 6)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = torch.randn(2, 11, 6)
    expected = F.group_norm(x.transpose(1, 2), 3, norm.weight, norm.bias).transpose(1, 2)
    torch.testing.assert_close(norm.segment(x), expected)
    with pytest.raises(TypeError, match="GroupNorm"):
        norm(x)


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: Decimate(1, 2, 2), "phase 2"),
        (lambda: Interpolate(1, 2, -1), "phase -1"),
        (lambda: Lowpass(1, 4), "not 4"),
    ],
)
def test_refuses(make, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
