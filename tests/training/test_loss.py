"""The loss against the score that it stands for, and where that one means nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rtsep.evaluation.metrics import si_sdr
from rtsep.training.loss import si_sdr_loss

BOTH = torch.tensor([1.0, 0.3])


def draw(*scales, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 4000, 2, 1, generator=generator)
    return x * torch.tensor(scales).view(1, 1, -1, 1)


def test_it_is_the_negative_score():
    targets = draw(1.0, 0.5)
    estimates = 0.7 * targets + draw(0.3, 0.2, seed=1)
    wanted = np.mean(
        [
            -si_sdr(estimates[i, :, 0], targets[i, :, 0])
            - 0.3 * si_sdr(estimates[i, :, 1], targets[i, :, 1])
            for i in range(2)
        ]
    )
    assert si_sdr_loss(estimates, targets, BOTH).item() == pytest.approx(wanted, abs=0.05)


def test_level_does_not_matter():
    targets, errors = draw(1.0, 0.5), draw(0.3, 0.3, seed=1)
    loud = si_sdr_loss(targets + errors, targets, BOTH)
    quiet = si_sdr_loss(1e-3 * (targets + errors), 1e-3 * targets, BOTH)
    assert loud.item() == pytest.approx(quiet.item(), abs=0.01)


def test_perfect_is_bounded():
    targets = draw(1.0, 0.5)
    assert si_sdr_loss(targets, targets, BOTH).item() == pytest.approx(-39, abs=0.1)


def test_an_estimate_upside_down_or_faint_is_led_back():
    targets = draw(1.0, 0.5)
    voice = torch.tensor([1.0, 0.0])
    for gain in (-1.0, -0.03, 0.0, 0.05):
        scale = torch.tensor(gain, requires_grad=True)
        loss = si_sdr_loss(scale * targets, targets, voice)
        loss.backward()
        assert scale.grad < -1 and loss.item() > -1, gain


def test_where_a_target_is_silent_less_is_better():
    targets = draw(0.0, 1.0)
    losses = []
    for leak in (1.0, 0.1, 0.01, 0.0):
        estimates = targets + draw(leak, 0.0, seed=1)
        losses.append(si_sdr_loss(estimates, targets, torch.tensor([1.0, 0.0])).item())
    assert losses == sorted(losses, reverse=True)
    assert losses[0] == pytest.approx(0, abs=0.5) and losses[-1] == pytest.approx(-30, abs=0.1)


@pytest.mark.parametrize("scales", [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0)])
def test_gradients_are_finite_wherever_there_is_silence(scales):
    estimates = torch.zeros(2, 4000, 2, 1, requires_grad=True)
    si_sdr_loss(estimates, draw(*scales), BOTH).backward()
    assert torch.isfinite(estimates.grad).all()
