"""The loss: negative SI-SDR, with an answer for stems that are silent."""

from __future__ import annotations

import torch
from torch import Tensor

# The gain of an estimate from which on its level is left to the other stems. SI-SDR alone does not
# mind an estimate that is upside down, or next to nothing, and can't find its way from there.
_AUDIBLE = 0.2

# An error this far below the target, or a leak this far below the mixture, is good enough: beyond
# it no gradient is spent.
_ENOUGH = 1e-3


def si_sdr_loss(estimates: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean over stems of negative SI-SDR, in dB, averaged over the batch.

    Where an estimate has not got the target's sign, or hardly any of its level, plain SDR takes the
    place of SI-SDR until it has. Where a target is silent (60 dB below the mixture) neither means
    anything: there it is the power of what leaks into the estimate, against that of the mixture.

    Args:
        estimates, targets: (batch, samples, stems, channels); the mixture is the sum of targets.
        weights: (stems,), by which the stems' losses are multiplied.
    """
    estimates, targets = estimates.float(), targets.float()
    mixture = targets.sum(2).square().sum((1, 2))[:, None] + 1e-9
    power = targets.square().sum((1, 3))
    scale = (estimates * targets).sum((1, 3)) / (power + 1e-6 * mixture)
    scale = torch.where(scale < _AUDIBLE, torch.ones_like(scale), scale)
    aimed = scale[:, None, :, None] * targets
    signal = aimed.square().sum((1, 3))
    error = (estimates - aimed).square().sum((1, 3))
    tiny = 1e-6 * mixture
    ratio = (error + _ENOUGH * signal + tiny) / (signal + tiny)
    leak = estimates.square().sum((1, 3)) / mixture + _ENOUGH
    loss = 10 * torch.log10(torch.where(power < tiny, leak, ratio))
    return (loss * weights).sum(1).mean()
