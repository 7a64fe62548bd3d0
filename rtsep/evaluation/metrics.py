"""Scores, in numpy."""

from __future__ import annotations

import numpy as np


def si_sdr(estimate: np.ndarray, target: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019, "SDR, half-baked or
    well done?"), over all samples of all channels alike, without removal of the mean.

    Minus infinity for an estimate that is silent or at right angles to the target, infinity for
    one that is a multiple of it, NaN where the target is silent.
    """
    estimate = np.asarray(estimate, np.float64).ravel()
    target = np.asarray(target, np.float64).ravel()
    power = target @ target
    if power == 0:
        return float("nan")
    aimed = (estimate @ target) / power * target
    error = estimate - aimed
    with np.errstate(divide="ignore"):
        signal, noise = aimed @ aimed, error @ error
        return float(10 * (np.log10(signal) - np.log10(noise))) if signal else float("-inf")


def si_sdr_improvement(estimate: np.ndarray, target: np.ndarray, mixture: np.ndarray) -> float:
    """By how many dB the estimate is nearer to the target than the mixture was."""
    return si_sdr(estimate, target) - si_sdr(mixture, target)
