"""Convolutions against torch's own, channels first and over the whole signal."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rtsep.layers import Conv, ConvTranspose, DepthwiseConv
from rtsep.streaming import Serial, verify_streaming

quick = settings(max_examples=25, deadline=None)


@st.composite
def shapes(draw, strided: bool = True) -> dict:
    """Kernels, strides, dilations, and any left padding from none to causal."""
    kernel = draw(st.integers(1, 7))
    dilation = draw(st.sampled_from([1, 1, 2, 3]))
    span = (kernel - 1) * dilation + 1
    stride = draw(st.integers(1, min(span, 4))) if strided else 1
    padding = draw(st.none() | st.integers(0, span - stride))
    return {"kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding}


def plain(x: Tensor, layer: Conv | DepthwiseConv, shape: dict, groups: int = 1) -> Tensor:
    span = (shape["kernel"] - 1) * shape["dilation"] + 1
    left = span - shape["stride"] if shape["padding"] is None else shape["padding"]
    y = F.conv1d(
        F.pad(x.transpose(1, 2), (left, span)),
        layer.weight.to(x.dtype),
        None if layer.bias is None else layer.bias.to(x.dtype),
        stride=shape["stride"],
        dilation=shape["dilation"],
        groups=groups,
    )
    return y.transpose(1, 2)[:, : x.shape[1] // shape["stride"]]


def frames_late(shape: dict) -> int:
    """Ours to expect: the frames that have begun before a window is full, whole ones."""
    if shape["padding"] is None:
        return 0
    span = (shape["kernel"] - 1) * shape["dilation"] + 1
    return -(-(span - shape["stride"] - shape["padding"]) // shape["stride"])


@quick
@given(shapes(), st.booleans(), st.integers(0, 7), st.integers(0, 99))
def test_conv(shape: dict, bias: bool, onset: int, seed: int) -> None:
    layer = Conv(3, 2, **shape, bias=bias)
    report = verify_streaming(
        layer, hops=60, onset=onset, seed=seed, twin=lambda x: plain(x, layer, shape)
    )
    assert report.measured_latency == frames_late(shape)


@quick
@given(shapes(strided=False), st.booleans(), st.integers(0, 7))
def test_depthwise(shape: dict, bias: bool, onset: int) -> None:
    layer = DepthwiseConv(
        4, shape["kernel"], dilation=shape["dilation"], padding=shape["padding"], bias=bias
    )
    report = verify_streaming(
        layer, hops=60, onset=onset, twin=lambda x: plain(x, layer, shape, groups=4)
    )
    assert report.measured_latency == frames_late(shape)


def plain_transpose(x: Tensor, layer: ConvTranspose) -> Tensor:
    """One decoder for each of what lies between time and channels."""
    batch, frames, *over, channels = x.shape
    flat = x.reshape(batch, frames, -1, channels).permute(0, 2, 3, 1).flatten(0, 1)
    weight = layer.weight.to(x.dtype)
    bias = None if layer.bias is None else layer.bias.to(x.dtype)
    y = F.conv_transpose1d(flat, weight, bias, stride=layer.stride)
    y = y[..., layer.trim : layer.trim + frames * layer.stride]
    return y.unflatten(0, (batch, -1)).permute(0, 3, 1, 2).reshape(batch, -1, *over, y.shape[1])


@quick
@given(
    st.integers(1, 9),
    st.integers(1, 4),
    st.integers(0, 5),
    st.sampled_from([(), (2,), (2, 3)]),
    st.booleans(),
    st.integers(0, 7),
)
def test_transpose(
    kernel: int, stride: int, trim: int, over: tuple[int, ...], bias: bool, onset: int
) -> None:
    kernel, trim = max(kernel, stride), min(trim, max(kernel, stride) - stride)
    layer = ConvTranspose(3, 2, kernel, stride, trim=trim, over=over, bias=bias)
    report = verify_streaming(layer, hops=40, onset=onset, twin=lambda x: plain_transpose(x, layer))
    assert report.measured_latency == trim


@pytest.mark.parametrize("kernel, stride", [(6, 3), (7, 3), (8, 3), (4, 4)])
def test_there_and_back(kernel: int, stride: int) -> None:
    """An encoder and a decoder that trims what the encoder's padding added."""
    padding = kernel - stride
    encoder = Conv(2, 4, kernel, stride, padding=padding, bias=False)
    decoder = ConvTranspose(4, 2, kernel, stride, trim=padding, bias=False)

    def twin(x: Tensor) -> Tensor:
        padded = F.pad(x.transpose(1, 2), (padding, 2 * kernel))
        frames = F.conv1d(padded, encoder.weight.double(), stride=stride)
        y = F.conv_transpose1d(frames, decoder.weight.double(), stride=stride)
        return y.transpose(1, 2)[:, padding : padding + x.shape[1]]

    report = verify_streaming(Serial(encoder, decoder), hops=40, twin=twin)
    assert report.measured_latency == padding


@pytest.mark.parametrize(
    "layer",
    [
        Conv(3, 2, 6, 4, padding=1),
        DepthwiseConv(3, 3, dilation=4),
        ConvTranspose(3, 2, 7, 3, trim=4),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_in_float32(layer) -> None:
    verify_streaming(layer, dtype=torch.float32)


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"kernel": 2, "stride": 3}, "skips some"),
        ({"kernel": 4, "padding": 4}, "padding of 4"),
        ({"kernel": 4, "padding": -1}, "padding of -1"),
    ],
)
def test_refuses(wrong: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Conv(2, 2, **wrong)
