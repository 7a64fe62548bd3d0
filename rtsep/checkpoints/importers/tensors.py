"""A public state dict, taken apart tensor by tensor."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from rtsep.errors import Failure


class Tensors:
    """Gives tensors by their public key, and knows in the end which nobody wanted.

    Raises `Failure`, with the key, for one that is missing, has another shape than it should, is
    not finite, or is left over.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = dict(tensors)
        self._used: set[str] = set()
        for key, value in self._tensors.items():
            if value.is_complex() or value.layout is not torch.strided:
                raise Failure(f"tensor {key} is {value.dtype}: real numbers are expected")
            if not torch.isfinite(value).all():
                raise Failure(f"tensor {key} holds NaN or infinity")

    def __contains__(self, key: str) -> bool:
        return key in self._tensors

    def sizes(self, key: str, axes: int) -> tuple[int, ...]:
        """The shape of a tensor that has so many axes."""
        shape = tuple(self._get(key).shape)
        if len(shape) != axes or 0 in shape:
            raise Failure(f"tensor {key} is {shape}: {axes} axes are expected")
        return shape

    def take(self, key: str, *shape: int) -> Tensor:
        """The tensor in float32, in this shape. Axes of length 1 may stand where they like."""
        value = self._get(key)
        found = tuple(value.shape)
        if [n for n in found if n != 1] != [n for n in shape if n != 1]:
            raise Failure(f"tensor {key} is {found}, expected {shape}")
        self._used.add(key)
        return value.detach().to(torch.float32).reshape(shape)

    def numbers(self, pattern: str) -> list[tuple[int, ...]]:
        """What the groups of `pattern` match at the start of the keys: each once, in order."""
        found = (re.match(pattern, key) for key in self._tensors)
        return sorted({tuple(map(int, match.groups())) for match in found if match})

    def names(self, pattern: str) -> list[tuple[str, ...]]:
        """What the groups of `pattern` match at the start of the keys: each once, as stored."""
        found = (re.match(pattern, key) for key in self._tensors)
        return list(dict.fromkeys(match.groups() for match in found if match))

    def all_used(self) -> None:
        """Raises where a tensor has not been taken."""
        if left := sorted(self._tensors.keys() - self._used):
            raise Failure(
                f"{len(left)} tensors have no place in the model, the first is {left[0]} "
                f"{tuple(self._tensors[left[0]].shape)}"
            )

    def _get(self, key: str) -> Tensor:
        if key not in self._tensors:
            raise Failure(f"tensor {key} is missing")
        return self._tensors[key]
