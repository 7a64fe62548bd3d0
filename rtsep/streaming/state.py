"""State as data: a tree of tensors whose first axis is the batch.

The tree's flattened names are the names of an exported step's inputs and outputs, so that any
engine can keep, reset and pause rows of it without knowing the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

State = Tensor | dict[str, Any] | list[Any] | tuple[Any, ...]

COUNTDOWN = "countdown"


@dataclass(frozen=True)
class StateSpec:
    """The shape of a state tree: how to flatten such a tree and how to build it again."""

    names: tuple[str, ...]
    _template: Any

    @classmethod
    def of(cls, state: State) -> StateSpec:
        names = tuple(name for name, _ in _leaves(state))
        return cls(names, _map(lambda leaf: None, state))

    def flatten(self, state: State) -> list[Tensor]:
        """The leaves of `state`, in the order of `names`."""
        found = list(_leaves(state))
        if tuple(name for name, _ in found) != self.names:
            raise ValueError("the state has another structure than the one described")
        return [leaf for _, leaf in found]

    def unflatten(self, leaves: list[Tensor]) -> State:
        """The tree whose leaves, in the order of `names`, are these."""
        if len(leaves) != len(self.names):
            raise ValueError(f"{len(leaves)} leaves given, {len(self.names)} wanted")
        remaining = iter(leaves)
        return _map(lambda _: next(remaining), self._template)


def select_rows(active: Tensor, new: State, old: State) -> State:
    """`new` in the rows where `active` (batch,) is true, `old` in the others."""

    def choose(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(active.view(-1, *[1] * (a.dim() - 1)), a, b)

    spec = StateSpec.of(new)
    pairs = zip(spec.flatten(new), spec.flatten(old), strict=True)
    return spec.unflatten([choose(a, b) for a, b in pairs])


def without_countdowns(state: State) -> State:
    """The tree less its countdowns: its step runs without masks. Right once they are all 0."""
    if isinstance(state, dict):
        return {k: without_countdowns(v) for k, v in state.items() if k != COUNTDOWN}
    if isinstance(state, list | tuple):
        return type(state)(without_countdowns(v) for v in state)
    return state


def start_countdown(batch: int, onset: int, device: torch.device) -> dict[str, Tensor]:
    """The entry that a masked layer adds to its state: frames still before the onset, per row.

    Where the onset is 0 there is no entry, and so, statically, no mask.
    """
    if onset == 0:
        return {}
    return {COUNTDOWN: torch.full((batch,), onset, dtype=torch.int64, device=device)}


def live_frames(state: dict[str, Any], frames: int) -> Tensor | None:
    """(batch, frames) booleans, false before the onset; None where everything is after it."""
    countdown = state.get(COUNTDOWN)
    if countdown is None:
        return None
    return torch.arange(frames, device=countdown.device)[None] >= countdown[:, None]


def next_countdown(state: dict[str, Any], frames: int) -> dict[str, Tensor]:
    """The entry after `frames` more frames."""
    countdown = state.get(COUNTDOWN)
    return {} if countdown is None else {COUNTDOWN: torch.clamp(countdown - frames, min=0)}


def silence(y: Tensor, live: Tensor | None) -> Tensor:
    """Zero in the frames (axis 1) that are not live."""
    if live is None:
        return y
    return y * live.to(y.dtype).view(*live.shape, *[1] * (y.dim() - 2))


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _leaves(value, f"{path}.{key}" if path else key)
    elif isinstance(tree, list | tuple):
        for index, value in enumerate(tree):
            yield from _leaves(value, f"{path}.{index}" if path else str(index))
    else:
        yield path or "value", tree


def _map(function: Callable[[Any], Any], tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _map(function, value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_map(function, value) for value in tree)
    return function(tree)
