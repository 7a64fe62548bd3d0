"""Convolutions over time and frequency, and batch norms, against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from rtsep.layers import BatchNorm, Conv, Conv2d, ConvTranspose2d
from rtsep.streaming import Serial, verify_streaming

quick = settings(max_examples=20, deadline=None)


@st.composite
def shapes(draw) -> dict:
    """Kernels and strides along both axes, and any left padding from none to causal."""
    kernel = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    stride = draw(st.integers(1, min(kernel[0], 3))), draw(st.integers(1, min(kernel[1], 3)))
    return {"kernel": kernel, "stride": stride}


def learnt(channels: int) -> BatchNorm:
    """With statistics, gains and biases as training leaves them."""
    norm = BatchNorm(channels)
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean):
        tensor.normal_(0.5, 0.5)
    norm.running_var.uniform_(0.5, 2)
    return norm


def plain_norm(y: Tensor, norm: BatchNorm | None) -> Tensor:
    """(batch, channels, ...)."""
    if norm is None:
        return y
    values = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    mean, var, gain, bias = (v.double().view(-1, *[1] * (y.dim() - 2)) for v in values)
    return (y - mean) / (var + norm.eps).sqrt() * gain + bias


def plain(x: Tensor, layer: Conv2d, left: int) -> Tensor:
    y = F.conv2d(
        F.pad(x.permute(0, 3, 1, 2), (layer.edge, layer.edge, left, layer.kernel[0])),
        layer.weight.double(),
        None if layer.bias is None else layer.bias.double(),
        stride=(layer.stride, layer.skip),
    )
    return plain_norm(y, layer.norm).permute(0, 2, 3, 1)[:, : x.shape[1] // layer.stride]


@quick
@given(shapes(), st.booleans(), st.booleans(), st.integers(0, 4), st.data())
def test_conv(shape: dict, bias: bool, norm: bool, onset: int, data) -> None:
    context = shape["kernel"][0] - shape["stride"][0]
    padding = data.draw(st.none() | st.integers(0, context))
    layer = Conv2d(
        2, 3, **shape, bins=7, padding=padding, bias=bias, norm=learnt(3) if norm else None
    ).eval()
    left = context if padding is None else padding
    report = verify_streaming(layer, hops=20, onset=onset, twin=lambda x: plain(x, layer, left))
    assert report.measured_latency == -(-(context - left) // shape["stride"][0])


def plain_transpose(x: Tensor, layer: ConvTranspose2d) -> Tensor:
    y = F.conv_transpose2d(
        x.permute(0, 3, 1, 2),
        layer.weight.double(),
        None if layer.bias is None else layer.bias.double(),
        stride=(layer.stride, layer.skip),
    )
    frames = x.shape[1] * layer.stride
    if missing := max(0, layer.trim + frames - y.shape[2]):
        nothing = 0 if layer.bias is None else layer.bias.double()
        more = torch.zeros(*y.shape[:2], missing, y.shape[3], dtype=y.dtype)
        y = torch.cat([y, more.movedim(1, -1).add(nothing).movedim(-1, 1)], 2)
    y = plain_norm(y, layer.norm).permute(0, 2, 3, 1)[:, layer.trim :]
    return y[:, :frames, layer.edge : layer.edge + layer.outputs[0]]


@quick
@given(shapes(), st.booleans(), st.booleans(), st.integers(0, 4), st.data())
def test_transpose(shape: dict, bias: bool, norm: bool, onset: int, data) -> None:
    trim = data.draw(st.integers(0, shape["kernel"][0] - shape["stride"][0]))
    whole = 4 * shape["stride"][1] + shape["kernel"][1]
    restored = data.draw(st.integers(1, whole))
    edge = data.draw(st.integers(0, whole - restored))
    layer = ConvTranspose2d(
        2,
        3,
        **shape,
        bins=5,
        restored=restored,
        edge=edge,
        trim=trim,
        bias=bias,
        norm=learnt(3) if norm else None,
    ).eval()
    report = verify_streaming(layer, hops=20, onset=onset, twin=lambda x: plain_transpose(x, layer))
    assert report.measured_latency == trim


@pytest.mark.parametrize("kernel, stride", [((5, 5), (2, 2)), ((3, 4), (1, 2)), ((6, 3), (3, 1))])
def test_segment(kernel: tuple[int, int], stride: tuple[int, int]) -> None:
    """Centred, down and up again, each layer with nothing at either end: torch's own padding."""
    pad = tuple((k - s + 1) // 2 for k, s in zip(kernel, stride, strict=True))
    extra = tuple(abs(k % 2 - s % 2) for k, s in zip(kernel, stride, strict=True))
    cut = tuple((k - s + e) // 2 for k, s, e in zip(kernel, stride, extra, strict=True))
    down, up = (
        nn.Conv2d(2, 3, kernel, stride, pad),
        nn.ConvTranspose2d(3, 2, kernel, stride, cut, output_padding=extra),
    )
    ours = Serial(
        Conv2d(2, 3, kernel, stride, bins=12, padding=pad[0]),
        ConvTranspose2d(3, 2, kernel, stride, bins=12 // stride[1], trim=cut[0]),
    )
    for layer, public in zip(ours.layers, (down, up), strict=True):
        layer.load_state_dict(public.state_dict())
    x = torch.randn(2, 18, 12, 2)
    expected = up(down(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
    torch.testing.assert_close(ours.segment(x), expected)


@pytest.mark.parametrize("padding", [0, 2])
def test_segment_of_one_axis(padding: int) -> None:
    """The valid form gives fewer frames, the centred one as many."""
    layer = Conv(2, 3, 5, padding=padding)
    x = torch.randn(2, 11, 2)
    expected = F.conv1d(x.transpose(1, 2), layer.weight, layer.bias, padding=padding)
    torch.testing.assert_close(layer.segment(x), expected.transpose(1, 2))


@quick
@given(st.integers(0, 5), st.booleans(), st.integers(0, 3))
def test_norm_of_one_axis(padding: int, bias: bool, onset: int) -> None:
    layer = Conv(2, 3, 6, padding=padding, bias=bias, norm=learnt(3)).eval()

    def twin(x: Tensor) -> Tensor:
        padded = F.pad(x.transpose(1, 2), (padding, 6))
        y = F.conv1d(padded, layer.weight.double(), None if not bias else layer.bias.double())
        return plain_norm(y, layer.norm).transpose(1, 2)[:, : x.shape[1]]

    verify_streaming(layer, hops=30, onset=onset, twin=twin)


def test_norm_while_training() -> None:
    """Statistics of the batch, and running ones for later, as torch keeps them."""
    ours, public = learnt(3), nn.BatchNorm2d(3)
    public.load_state_dict(ours.state_dict(), strict=False)
    x = torch.randn(2, 5, 4, 3)
    torch.testing.assert_close(ours(x), public(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
    ours.eval(), public.eval()
    torch.testing.assert_close(ours(x), public(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
    layer = Conv2d(2, 3, (3, 3), bins=4, norm=learnt(3))
    y = layer(torch.randn(2, 9, 4, 2))
    torch.testing.assert_close(y.mean((0, 1, 2)), layer.norm.bias)


def test_in_float32() -> None:
    layer = Serial(
        Conv2d(2, 3, (5, 5), (2, 2), bins=8, padding=2, norm=learnt(3)),
        ConvTranspose2d(3, 2, (5, 5), (2, 2), bins=4, trim=2, norm=learnt(2)),
    )
    verify_streaming(layer, dtype=torch.float32)


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: Conv2d(1, 1, (1, 3), (2, 1), bins=4), "skips some"),
        (lambda: Conv2d(1, 1, (3, 3), bins=4, padding=3), "padding of 3"),
        (lambda: Conv2d(1, 1, (3, 5), bins=2, edge=0), "2 bins are too few"),
        (lambda: ConvTranspose2d(1, 1, (3, 1), (1, 2), bins=4), "leaves gaps"),
        (lambda: ConvTranspose2d(1, 1, (3, 3), (1, 2), bins=4, restored=9), "4 bins give 8"),
    ],
)
def test_refuses(make, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
