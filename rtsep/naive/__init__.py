"""Each architecture again, the plain way: the whole signal at once, channels first.

These twins share only the weights with the models: no layer, no onset, no state. A model is right
where it equals its twin, and late by the shift at which its stream does. One file per architecture
has `separate(model, mixture)`, (batch, channels, samples) to (batch, stems, channels, samples).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from torch import Tensor

from rtsep.models.base import Separator


def twin(model: Separator) -> Callable[[Tensor], Tensor]:
    """The model's function, (batch, samples, channels) to (batch, samples, stems, channels).

    Both in the time of the public form, so aligned with each other, whatever the stream's latency.
    """
    separate = import_module(f"rtsep.naive.{model.arch.replace('-', '_')}").separate

    def run(x: Tensor) -> Tensor:
        return separate(model, x.transpose(1, 2)).permute(0, 3, 1, 2)

    return run
