"""Muon, which moves a matrix by an orthogonal step, in the precision that the processor has."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

# Jordan 2024: five steps with these end near 1 for every singular value, not at it; it suffices.
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_STEPS = 5


class Muon(torch.optim.Optimizer):
    """Momentum, made orthogonal (Jordan 2024); its length is that of AdamW's step (Liu 2025).

    Equals `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"`, but for the type of the
    products: that one's is always bfloat16, which a processor without such an instruction
    emulates, 20 to 40 times slower than float32.

    Args:
        parameters: matrices alone.
        dtype: in which a step is made orthogonal.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        weight_decay: float,
        dtype: torch.dtype,
        momentum: float = 0.95,
    ) -> None:
        self.dtype = dtype
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            rate, momentum = group["lr"], group["momentum"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(parameter)
                mean = state["momentum_buffer"]
                mean.lerp_(parameter.grad, 1 - momentum)
                ahead = parameter.grad.lerp(mean, momentum)
                parameter.mul_(1 - rate * group["weight_decay"])
                length = 0.2 * max(parameter.shape) ** 0.5
                parameter.add_(orthogonal(ahead, self.dtype), alpha=-rate * length)


def orthogonal(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """About the orthogonal matrix nearest to `matrix`, by Newton and Schulz's iteration."""
    a, b, c = _COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).to(dtype)
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(_STEPS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.T if tall else x).to(matrix.dtype)
