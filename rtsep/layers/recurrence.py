"""Recurrent layers that run forward in time."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rtsep.streaming.layer import StreamingLayer
from rtsep.streaming.state import State, next_countdown, start_countdown

# Closes the input gate to an exact 0 in float32 and float64 alike.
CLOSED = -1e4


class LSTM(StreamingLayer):
    """Equals `torch.nn.LSTM(inputs, units, layers, batch_first=True)`, parameters by its names.

    Before the onset the input gate is held shut by one more input column of weight 1: the cell and
    the output are then exactly 0 and the fused operator stays in use.
    """

    def __init__(self, inputs: int, units: int, layers: int = 1) -> None:
        super().__init__()
        self.units, self.depth = units, layers
        self.inputs, self.outputs = (inputs,), (units,)
        bound = 1 / math.sqrt(units)
        for name, shape in lstm_shapes(inputs, units, layers).items():
            value = torch.empty(shape).uniform_(-bound, bound)
            self.register_parameter(name, nn.Parameter(value))

    def initial(self, batch: int, onset: int = 0) -> tuple[State, int]:
        state = {
            "hidden": self.zeros(batch, self.depth, self.units),
            "cell": self.zeros(batch, self.depth, self.units),
        }
        return state | start_countdown(batch, onset, self.device), onset

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        frames = x.shape[1]
        gate = self._gate(x, state)
        hidden, cell = [], []
        for k in range(self.depth):
            weights = [getattr(self, f"{name}_l{k}") for name in _NAMES]
            if gate is not None:
                x = torch.cat([x, gate], -1)
                weights[0] = torch.cat([weights[0], self._column(weights[0])], 1)
            before = (state["hidden"][:, k][None], state["cell"][:, k][None])
            x, h, c = _fused(x.contiguous(), before, weights)
            hidden.append(h[0])
            cell.append(c[0])
        following = {"hidden": torch.stack(hidden, 1), "cell": torch.stack(cell, 1)}
        return x, following | next_countdown(state, frames)

    def _gate(self, x: Tensor, state: State) -> Tensor | None:
        """(batch, frames, 1): what the additional column is fed."""
        countdown = state.get("countdown")
        if countdown is None:
            return None
        waiting = torch.arange(x.shape[1], device=x.device)[None] < countdown[:, None]
        return (waiting.to(x.dtype) * CLOSED)[..., None]

    def _column(self, like: Tensor) -> Tensor:
        """1 for the rows of the input gate, which torch keeps first; 0 for the others."""
        rows = torch.arange(4 * self.units, device=like.device)
        return (rows < self.units).to(like.dtype)[:, None]


def lstm_shapes(inputs: int, units: int, layers: int) -> dict[str, tuple[int, ...]]:
    """The parameters of `torch.nn.LSTM(inputs, units, layers)`: its names, their shapes."""
    shapes: dict[str, tuple[int, ...]] = {}
    for k in range(layers):
        shapes |= {
            f"weight_ih_l{k}": (4 * units, units if k else inputs),
            f"weight_hh_l{k}": (4 * units, units),
            f"bias_ih_l{k}": (4 * units,),
            f"bias_hh_l{k}": (4 * units,),
        }
    return shapes


@torch.compiler.disable
def _fused(
    x: Tensor, before: tuple[Tensor, Tensor], weights: list[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """The operator as it is: `torch.compile` would unroll it frame by frame, for minutes."""
    return torch.lstm(x, before, weights, True, 1, 0.0, False, False, True)


_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
