"""Muon is the public one, in whatever type the processor has."""

import pytest
import torch

from rtsep.training.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(24, 24), (40, 12), (12, 40)])
def test_it_moves_as_the_public_one(shape: tuple[int, int]) -> None:
    first = torch.randn(shape)
    ours, theirs = (torch.nn.Parameter(first.clone()) for _ in range(2))
    mine = Muon([ours], lr=0.02, weight_decay=0.1, dtype=torch.bfloat16)
    public = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(5):
        ours.grad = torch.randn(shape)
        theirs.grad = ours.grad.clone()
        mine.step()
        public.step()
    assert (ours - first).norm() > 0.1
    # Theirs divides by the norm of the rounded gradient.
    assert (ours - theirs).norm() < 0.02 * (ours - first).norm()


def test_a_step_is_nearly_orthogonal() -> None:
    step = orthogonal(torch.randn(30, 80), torch.float32)
    values = torch.linalg.svdvals(step)
    assert 0.6 < values.min() and values.max() < 1.3


def test_what_has_no_gradient_stays() -> None:
    matrix = torch.nn.Parameter(torch.randn(4, 6))
    before = matrix.detach().clone()
    Muon([matrix], lr=0.1, weight_decay=0.1, dtype=torch.float32).step()
    assert torch.equal(matrix, before)
