"""Networks of one shape side by side, each with weights and frames of its own, as one computation.

Frames are (batch, frames, groups, channels). One batched product serves all groups; a recurrence
advances all of them with every frame.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from rtsep.layers.batchnorm import BatchNorm
from rtsep.layers.recurrence import CLOSED, lstm_shapes
from rtsep.streaming.layer import StreamingLayer
from rtsep.streaming.state import State, live_frames, next_countdown, start_countdown


class ParallelLinear(nn.Module):
    """`torch.nn.Linear(inputs, outputs)` for each group, and a batch norm after it if asked for.

    Weight (groups, outputs, inputs), bias (groups, outputs). The norm's statistics, one after
    the other group's, become part of weight and bias once they are frozen.
    """

    def __init__(
        self, groups: int, inputs: int, outputs: int, *, bias: bool = True, norm: bool = False
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = _drawn(bound, groups, outputs, inputs)
        self.bias = _drawn(bound, groups, outputs) if bias else None
        self.norm = BatchNorm(groups * outputs) if norm else None

    def forward(self, x: Tensor) -> Tensor:
        """(batch, frames, groups, inputs) to (batch, frames, groups, outputs)."""
        if self.norm is None or self.norm.training:
            y = _product(x, self.weight)
            y = y if self.bias is None else y + self.bias
            return y if self.norm is None else self.norm(y.flatten(-2)).view_as(y)
        scale, shift = (part.view(self.weight.shape[:2]) for part in self.norm.frozen())
        bias = shift if self.bias is None else self.bias * scale + shift
        return _product(x, self.weight * scale[..., None]) + bias


class ParallelLSTM(StreamingLayer):
    """`torch.nn.LSTM(inputs, units, layers)` for each group: (batch, frames, groups, inputs).

    Parameters have torch's names and order of gates, the groups before the rest of each shape.
    Before the onset the input gate is shut: cell and output are then exactly 0.
    """

    def __init__(self, groups: int, inputs: int, units: int, layers: int = 1) -> None:
        super().__init__()
        self.groups, self.units, self.depth = groups, units, layers
        self.inputs, self.outputs = (groups, inputs), (groups, units)
        bound = 1 / math.sqrt(units)
        for name, shape in lstm_shapes(inputs, units, layers).items():
            self.register_parameter(name, _drawn(bound, groups, *shape))

    def initial(self, batch: int, onset: int = 0) -> tuple[State, int]:
        shape = (batch, self.depth, self.groups, self.units)
        state = {"hidden": self.zeros(*shape), "cell": self.zeros(*shape)}
        return state | start_countdown(batch, onset, self.device), onset

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        frames = x.shape[1]
        live = live_frames(state, frames)
        hidden, cell = [], []
        for k in range(self.depth):
            weights = (getattr(self, f"{name}_l{k}") for name in ("weight_ih", "weight_hh"))
            bias = getattr(self, f"bias_ih_l{k}") + getattr(self, f"bias_hh_l{k}")
            memory = (state["hidden"][:, k].transpose(0, 1), state["cell"][:, k].transpose(0, 1))
            x, (h, c) = _lstm(x, memory, *weights, bias, live)
            hidden.append(h.transpose(0, 1))
            cell.append(c.transpose(0, 1))
        following = {"hidden": torch.stack(hidden, 1), "cell": torch.stack(cell, 1)}
        return x, following | next_countdown(state, frames)


def _lstm(
    x: Tensor,
    memory: tuple[Tensor, Tensor],
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor,
    live: Tensor | None,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """One layer over all frames; the memory is hidden and cell, (groups, batch, units) each."""
    hidden, cell = memory
    units = hidden.shape[-1]
    # What does not depend on the frame before is computed for all frames at once.
    fed = _product(x, weight_ih) + bias
    if live is not None:
        shut = torch.where(live, 0.0, CLOSED).to(x.dtype)[..., None, None]
        fed = torch.cat([fed[..., :units] + shut, fed[..., units:]], -1)
    recurrent, outputs = weight_hh.transpose(1, 2), []
    for frame in fed.permute(1, 2, 0, 3).unbind(0):
        gates = frame + torch.bmm(hidden, recurrent)
        entry, forget, new, out = gates.split(units, -1)
        cell = forget.sigmoid() * cell + entry.sigmoid() * new.tanh()
        hidden = out.sigmoid() * cell.tanh()
        outputs.append(hidden)
    return torch.stack(outputs).permute(2, 0, 1, 3), (hidden, cell)


def _product(x: Tensor, weight: Tensor) -> Tensor:
    """(batch, frames, groups, inputs) and (groups, outputs, inputs): every group by its own."""
    rows = x.permute(2, 0, 1, 3)
    y = torch.bmm(rows.flatten(1, 2), weight.transpose(1, 2))
    return y.unflatten(1, rows.shape[1:3]).permute(1, 2, 0, 3)


def _drawn(bound: float, *shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
