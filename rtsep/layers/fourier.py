"""Fourier transforms of windows, and back, as matrix products: the same in every engine.

A long transform is made of two rounds of short ones (Cooley and Tukey 1965). With the window's
length `N = a b`, sample `n = b n1 + n2` and bin `k = k1 + a k2`,

    X[k] = sum over n2 of exp(-2 pi i n2 k / N) (sum over n1 of exp(-2 pi i n1 k1 / a) x[n])

so `a + b` products stand for every `N` of the plain sum: for 4,096 samples a sixteenth of the
arithmetic and a thirtieth of the matrices, which a live step reads anew each time.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Up to this length one product is as fast as two.
_LONGEST_PLAIN = 256


class Fourier(nn.Module):
    """Real windows (..., window) to their spectra's real and imaginary parts (..., 2, bins).

    Args:
        taper: by which each window is multiplied before, (window,) in float64.
    """

    def __init__(self, taper: Tensor) -> None:
        super().__init__()
        window = len(taper)
        self.bins, self.rounds = window // 2 + 1, _rounds(window)
        if self.rounds is None:
            angle = _turn(torch.arange(window)[:, None] * torch.arange(self.bins), window)
            basis = torch.cat([angle.cos(), -angle.sin()], 1) * taper[:, None]
            _keep(self, basis=basis.T)
            return
        a, b = self.rounds
        first = _turn(torch.arange(a)[:, None] * torch.arange(a), a)
        second = _second(a, b, self.bins)
        turned = torch.stack([second.cos(), -second.sin(), second.sin(), second.cos()], 1)
        _keep(
            self,
            taper=taper,
            first=torch.cat([first.cos(), -first.sin()], 1),
            # (k1, real or imaginary and n2, real or imaginary and k2)
            second=turned.unflatten(1, (2, 2)).transpose(2, 3).flatten(3, 4).flatten(1, 2),
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.rounds is None:
            return exact_product(x, self.basis.T).unflatten(-1, (2, self.bins))
        a, b = self.rounds
        windows = (x.to(self.taper.dtype) * self.taper).reshape(-1, a, b)
        parts = exact_product(windows.transpose(1, 2), self.first)
        parts = parts.unflatten(-1, (2, a)).permute(3, 0, 2, 1).flatten(2)
        parts = exact_product(parts, self.second)
        parts = parts.unflatten(-1, (2, -1)).permute(1, 2, 3, 0).flatten(2)
        return parts[..., : self.bins].reshape(*x.shape[:-1], 2, self.bins)


class InverseFourier(nn.Module):
    """Spectra (..., 2, bins) to the ends of real windows, (..., heard).

    Args:
        window: samples of a whole window.
        taper: by which the samples that are heard are multiplied, (heard,) in float64.
    """

    def __init__(self, window: int, taper: Tensor) -> None:
        super().__init__()
        self.heard = len(taper)
        self.bins, self.rounds = window // 2 + 1, _rounds(window)
        weight = torch.full((self.bins,), 2 / window, dtype=torch.float64)
        weight[0] = 1 / window
        if window % 2 == 0:
            weight[-1] = 1 / window
        if self.rounds is None:
            heard = torch.arange(window)[window - self.heard :]
            angle = _turn(torch.arange(self.bins)[:, None] * heard, window)
            parts = torch.stack([angle.cos(), -angle.sin()]) * weight[:, None] * taper
            _keep(self, basis=parts.flatten(0, 1))
            return
        a, b = self.rounds
        second = _second(a, b, self.bins).transpose(1, 2)
        self.missing = a * second.shape[1] - self.bins
        weight = F.pad(weight, (0, self.missing)).view(-1, a).T[:, None, :, None, None]
        turned = torch.stack([second.cos(), second.sin(), -second.sin(), second.cos()], 1)
        turned = turned.unflatten(1, (2, 2)).transpose(2, 3) * weight
        rows = torch.arange(a)[(window - self.heard) // b :]
        last = _turn(torch.arange(a)[:, None] * rows, a)
        _keep(
            self,
            taper=taper,
            # (k1, real or imaginary and k2, real or imaginary and n2)
            second=turned.flatten(3, 4).flatten(1, 2),
            last=torch.cat([last.cos(), -last.sin()]),
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.rounds is None:
            return exact_product(x.flatten(-2), self.basis)
        a, b = self.rounds
        parts = F.pad(x, (0, self.missing)).reshape(-1, 2, (self.bins + self.missing) // a, a)
        parts = exact_product(parts.permute(3, 0, 1, 2).flatten(2), self.second)
        parts = parts.unflatten(-1, (2, b)).permute(1, 3, 2, 0).flatten(2)
        windows = exact_product(parts, self.last).transpose(1, 2).flatten(1)
        windows = windows[:, windows.shape[1] - self.heard :] * self.taper
        return windows.view(*x.shape[:-2], self.heard)


def exact_product(x: Tensor, basis: Tensor) -> Tensor:
    """Never in bfloat16, which autocast would choose: a transform loses too much in it."""
    if not torch.is_autocast_enabled(x.device.type):
        return x @ basis
    with torch.autocast(x.device.type, enabled=False):
        return x.to(basis.dtype) @ basis


def _rounds(window: int) -> tuple[int, int] | None:
    """The two factors nearest to each other; None where one product is better."""
    first = next(n for n in range(math.isqrt(window), 0, -1) if window % n == 0)
    return (first, window // first) if window > _LONGEST_PLAIN and first >= 4 else None


def _second(a: int, b: int, bins: int) -> Tensor:
    """(k1, n2, k2): by how much the second round turns each part."""
    k1, k2 = torch.arange(a), torch.arange(-(-bins // a))
    bin = k1[:, None] + a * k2
    return _turn(torch.arange(b)[:, None] * bin[:, None], a * b)


def _turn(steps: Tensor, whole: int) -> Tensor:
    """Angles in float64; of whole turns nothing is left, which would cost digits."""
    return (steps % whole).double() * (2 * math.pi / whole)


def _keep(module: nn.Module, **buffers: Tensor) -> None:
    for name, value in buffers.items():
        value = value.to(torch.get_default_dtype()).contiguous()
        module.register_buffer(name, value, persistent=False)
