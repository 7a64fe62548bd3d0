"""Spectra and back against numpy's transform and loops over windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rtsep.layers import InverseSpectrogram, Spectrogram
from rtsep.layers.spectrogram import SHAPES, window_pair
from rtsep.streaming import Serial, verify_streaming

quick = settings(max_examples=12, deadline=None)


@pytest.fixture(scope="module", autouse=True)
def windows_in_float64():
    """A layer keeps its windows in the type it was made in."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@st.composite
def shapes(draw) -> tuple[int, int, int]:
    """(window, synthesis, hop): symmetric, asymmetric, or without overlap."""
    hop = draw(st.integers(2, 6))
    kind = draw(st.sampled_from(["symmetric", "asymmetric", "single"]))
    if kind == "symmetric":
        window = draw(st.integers(2 * hop, 4 * hop))
        return window, window, hop
    window = draw(st.integers(2 * hop, 5 * hop))
    return window, 2 * hop if kind == "asymmetric" else hop, hop


def hann(length: int) -> np.ndarray:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)


def plain_windows(window: int, synthesis: int, hop: int) -> tuple[np.ndarray, np.ndarray]:
    """Both as long as the analysis window; written from the papers, sample by sample."""
    if synthesis == hop:
        rise = np.sqrt(hann(2 * (window - hop))[: window - hop])
        analysis = np.concatenate([rise, np.ones(hop)])
        return analysis, np.concatenate([np.zeros(window - hop), np.ones(hop)])
    if synthesis == window:
        root = np.sqrt(hann(window))
        total = np.zeros(window)
        for n in range(window):
            total[n] = sum(root[m] ** 2 for m in range(n % hop, window, hop))
        return root, root / total
    analysis, shape = np.zeros(window), np.zeros(window)
    for n in range(window):
        if n < window - hop:
            analysis[n] = np.sin(np.pi * n / (2 * (window - hop)))
        else:
            analysis[n] = np.cos(np.pi * (n - window + hop) / (2 * hop))
        start = window - 2 * hop
        if start <= n < window - hop:
            shape[n] = np.sin(np.pi * (n - start) / (2 * hop)) ** 2 / analysis[n]
        elif n >= window - hop:
            shape[n] = analysis[n]
    return analysis, shape


def plain_spectra(x: Tensor, window: int, synthesis: int, hop: int) -> Tensor:
    analysis, _ = plain_windows(window, synthesis, hop)
    batch, samples, channels = x.shape
    padded = np.concatenate([np.zeros((batch, window - hop, channels)), x.numpy()], 1)
    frames = []
    for j in range(samples // hop):
        piece = padded[:, j * hop : j * hop + window] * analysis[:, None]
        spectrum = np.fft.rfft(piece, axis=1)
        frames.append(np.stack([spectrum.real, spectrum.imag], -1).reshape(batch, -1, 2 * channels))
    return torch.from_numpy(np.stack(frames, 1))


def plain_sound(spectra: Tensor, window: int, synthesis: int, hop: int) -> Tensor:
    """Over-lapped and added in public time: frame `j` lies where its window came from."""
    _, shape = plain_windows(window, synthesis, hop)
    parts = spectra.numpy().reshape(*spectra.shape[:-1], -1, 2)
    batch, frames, *over, _, channels, _ = parts.shape
    pieces = np.fft.irfft(parts[..., 0] + 1j * parts[..., 1], n=window, axis=-2)
    y = np.zeros((batch, window + frames * hop, *over, channels))
    for j in range(frames):
        for n in range(window):
            y[:, j * hop + n] += pieces[:, j, ..., n, :] * shape[n]
    return torch.from_numpy(y[:, window - hop : window - hop + frames * hop])


@quick
@given(shapes(), st.integers(1, 2), st.integers(0, 9))
def test_spectrogram(shape: tuple[int, int, int], channels: int, onset: int) -> None:
    window, synthesis, hop = shape
    report = verify_streaming(
        Spectrogram(window, hop, synthesis=synthesis, channels=channels),
        onset=onset,
        twin=lambda x: plain_spectra(x, *shape),
    )
    assert report.measured_latency == 0


@quick
@given(shapes(), st.integers(1, 2), st.sampled_from([(), (3,)]), st.integers(0, 4))
def test_inverse(shape: tuple[int, int, int], channels: int, over: tuple, onset: int) -> None:
    window, synthesis, hop = shape
    report = verify_streaming(
        InverseSpectrogram(window, hop, synthesis=synthesis, channels=channels, over=over),
        onset=onset,
        twin=lambda x: plain_sound(x, *shape),
    )
    assert report.measured_latency == synthesis - hop


@quick
@given(shapes(), st.integers(1, 2), st.integers(0, 9))
def test_perfect_reconstruction(shape: tuple[int, int, int], channels: int, onset: int) -> None:
    """With an all-pass mask the sound comes back, one synthesis window less a hop later."""
    window, synthesis, hop = shape
    options = {"synthesis": synthesis, "channels": channels}
    layer = Serial(Spectrogram(window, hop, **options), InverseSpectrogram(window, hop, **options))
    report = verify_streaming(layer, onset=onset, twin=lambda x: x)
    assert report.measured_latency == synthesis - hop
    x = torch.randn(1, 20 * hop, channels)
    torch.testing.assert_close(layer(x), x, rtol=0, atol=1e-12)


@st.composite
def padded(draw) -> dict:
    """A public form's window, hop and left padding: none, centred, causal, or anything between."""
    hop = draw(st.integers(2, 6))
    window = draw(st.integers(2 * hop, 4 * hop))
    return {
        "window": window,
        "hop": hop,
        "padding": draw(st.just(window // 2) | st.integers(0, window - hop)),
        "shape": draw(st.sampled_from(SHAPES)),
    }


@quick
@given(padded(), st.integers(1, 2), st.integers(0, 9))
def test_public_padding(form: dict, channels: int, onset: int) -> None:
    """Frames and sound as torch makes them of a signal with so many zeros on its left."""
    window, hop, padding = form["window"], form["hop"], form["padding"]
    taper = torch.from_numpy(hann(window))
    taper = taper if form["shape"] == "hann" else taper.sqrt()

    def spectra(x: Tensor) -> Tensor:
        filled = torch.nn.functional.pad(x, (0, 0, padding, window))
        y = torch.fft.rfft(filled.unfold(1, window, hop) * taper, dim=-1)[:, : x.shape[1] // hop]
        return torch.view_as_real(y).permute(0, 1, 3, 2, 4).flatten(3)

    def sound(x: Tensor) -> Tensor:
        filled = torch.nn.functional.pad(x, (0, 0, padding, 2 * window))
        frames = (filled.unfold(1, window, hop) * taper.square()).transpose(2, 3)
        y, weight = torch.zeros_like(filled), torch.zeros(window + hop * 8)
        for j in range(frames.shape[1]):
            y[:, j * hop : j * hop + window] += frames[:, j]
        for j in range(8):
            weight[j * hop : j * hop + window] += taper.square()
        whole = weight[4 * hop : 5 * hop].repeat(y.shape[1] // hop + 1)[: y.shape[1]]
        return (y / whole[:, None])[:, padding : padding + x.shape[1]]

    analysis = Spectrogram(**form, channels=channels)
    verify_streaming(analysis, onset=onset, twin=spectra)
    synthesis = InverseSpectrogram(**form, channels=channels)
    report = verify_streaming(Serial(analysis, synthesis), onset=onset, twin=sound)
    assert window - hop <= report.measured_latency < window


def test_agrees_with_torch() -> None:
    """At a usual size, against `torch.stft` with the left padding of the causal form."""
    window, hop = 256, 64
    x = torch.randn(2, 64 * 40)
    padded = torch.nn.functional.pad(x, (window - hop, 0))
    root = torch.hann_window(window).sqrt()
    spectrum = torch.stft(padded, window, hop, window=root, center=False, return_complex=True)
    expected = torch.view_as_real(spectrum).transpose(1, 2)
    torch.testing.assert_close(Spectrogram(window, hop)(x[..., None]), expected)


def test_in_float32() -> None:
    torch.set_default_dtype(torch.float32)
    try:
        pair = Serial(
            Spectrogram(512, 64, synthesis=128), InverseSpectrogram(512, 64, synthesis=128)
        )
        verify_streaming(pair, dtype=torch.float32, hops=12, twin=lambda x: x)
    finally:
        torch.set_default_dtype(torch.float64)


@pytest.mark.parametrize(
    "window, synthesis, hop, said",
    [(8, 4, 6, "not rising"), (8, 9, 2, "not rising"), (16, 12, 4, "one or two hops")],
)
def test_refuses(window: int, synthesis: int, hop: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        window_pair(window, synthesis, hop)


def test_refuses_shapes_and_paddings() -> None:
    with pytest.raises(ValueError, match="window shape 'square'"):
        Spectrogram(8, 4, shape="square")
    with pytest.raises(ValueError, match="left padding of 5"):
        InverseSpectrogram(8, 4, padding=5)


@pytest.mark.parametrize("window, hop", [(16, 8), (16, 4), (18, 5)])
def test_reflection_at_the_start(window: int, hop: int) -> None:
    def spectra(x: Tensor) -> Tensor:
        return _stft(x, window, hop)[:, : x.shape[1] // hop]

    layer = Spectrogram(window, hop, channels=2, padding=window // 2, shape="hann", reflect=True)

    def kept(x: Tensor) -> Tensor:
        """Torch reflects the end as well; a stream does not know it."""
        return torch.nn.functional.pad(x, (0, 0, 0, window))

    verify_streaming(layer, onset=3, twin=lambda x: spectra(kept(x))[:, : x.shape[1] // hop])


@pytest.mark.parametrize("window, hop", [(16, 8), (16, 4), (32, 5)])
def test_segments_as_torch_makes_them(window: int, hop: int) -> None:
    """There and back, both ends reflected and weighed."""
    form = {"window": window, "hop": hop, "channels": 2, "padding": window // 2, "shape": "hann"}
    x = torch.randn(3, 12 * hop, 2)
    spectra = Spectrogram(**form, reflect=True).segment(x)
    torch.testing.assert_close(spectra, _stft(x, window, hop))
    sound = InverseSpectrogram(**form).segment(spectra)
    torch.testing.assert_close(sound, x)


def _stft(x: Tensor, window: int, hop: int) -> Tensor:
    flat = x.transpose(1, 2).flatten(0, 1)
    y = torch.stft(flat, window, hop, window=torch.hann_window(window), return_complex=True)
    return torch.view_as_real(y.unflatten(0, (x.shape[0], -1))).permute(0, 3, 2, 1, 4).flatten(3)
