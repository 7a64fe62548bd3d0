"""Short-time spectra and back for the twins: torch's transform over windows of the whole signal.

Arguments are those of the layers, `padding` that of the causal form where it is None.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def spectra(
    mixture: Tensor,
    window: int,
    hop: int,
    *,
    synthesis: int | None = None,
    padding: int | None = None,
    shape: str = "root",
    reflect: bool = False,
) -> Tensor:
    """(batch, channels, samples) to complex (batch, channels, bins, frames).

    As many frames as begin before the end; after it there is silence.
    """
    before = window - hop if padding is None else padding
    frames = -(-(mixture.shape[-1] + before) // hop)
    filled = F.pad(mixture, (before, 0), mode="reflect") if reflect else F.pad(mixture, (before, 0))
    filled = F.pad(filled, (0, (frames - 1) * hop + window - filled.shape[-1]))
    taper, _ = tapers(window, hop, synthesis, shape)
    return torch.fft.rfft(filled.unfold(-1, window, hop) * taper.to(mixture), dim=-1).mT


def sound(
    spectra: Tensor,
    samples: int,
    window: int,
    hop: int,
    *,
    synthesis: int | None = None,
    padding: int | None = None,
    shape: str = "root",
) -> Tensor:
    """Complex (..., bins, frames) to (..., samples): windows overlapped and added."""
    before = window - hop if padding is None else padding
    _, taper = tapers(window, hop, synthesis, shape)
    windows = torch.fft.irfft(spectra, n=window, dim=-2)
    windows = windows * taper.to(windows)[:, None]
    length = (windows.shape[-1] - 1) * hop + window
    rows = windows.flatten(0, -3)
    y = F.fold(rows, (1, length), (1, window), stride=(1, hop)).view(*windows.shape[:-2], length)
    return y[..., before : before + samples]


def change(power: Tensor, span: float) -> Tensor:
    """(batch, frames, width): how much louder each is than its moving mean over `span` frames."""
    loudness, decay = 0.25 * torch.log(power + 1e-10), math.exp(-1 / span)
    total, weight, louder = torch.zeros_like(loudness[:, 0]), 0.0, []
    for frame in loudness.unbind(1):
        total, weight = decay * total + frame, decay * weight + 1
        louder.append(frame - total / weight)
    return torch.stack(louder, 1)


def tapers(window: int, hop: int, synthesis: int | None, shape: str) -> tuple[Tensor, Tensor]:
    """Analysis and synthesis windows in float64, both of the analysis window's length."""
    n = torch.arange(window, dtype=torch.float64)
    if synthesis in (None, window):
        taper = torch.sin(torch.pi * n / window)
        taper = taper.square() if shape == "hann" else taper
        spans = F.pad(taper.square(), (0, -window % hop)).view(-1, hop)
        return taper, taper / spans.sum(0).repeat(len(spans))[:window]
    rise, start = window - hop, window - synthesis
    analysis = torch.sin(torch.pi * n / (2 * rise))
    if synthesis == hop:
        analysis[rise:] = 1
        return analysis, (n >= start).double()
    analysis[rise:] = torch.cos(torch.pi * (n[rise:] - rise) / (2 * hop))
    heard = torch.sin(torch.pi * (n - start) / (2 * hop)).square() / analysis
    heard[rise:] = analysis[rise:]
    return analysis, torch.where(n < start, 0, heard)
