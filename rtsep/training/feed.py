"""Batches made in the background, by a process that holds no more than its own work."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rtsep.training.data import Mixer

_ENOUGH = 1 << 40


class Batches(Dataset):
    """Batch `i`: (size, samples, stems, channels) float32, the stems of its mixtures."""

    def __init__(self, mixer: Mixer, size: int) -> None:
        self.mixer, self.size = mixer, size

    def __getitem__(self, number: int) -> Tensor:
        stems = self.mixer.batch(number, self.size)
        return torch.from_numpy(np.ascontiguousarray(stems.transpose(0, 2, 1))).unsqueeze(-1)


def feed(mixer: Mixer, size: int, first: int, workers: int) -> Iterator[Tensor]:
    """Batches from number `first` on, without end; without workers they are made when asked for."""
    loader = DataLoader(
        Batches(mixer, size),
        batch_size=None,
        sampler=range(first, _ENOUGH),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_alone,
    )
    return iter(loader)


def _alone(worker: int) -> None:
    torch.set_num_threads(1)
    # What is sent to the training's group, as Ctrl-C is, is for the training, which ends this
    # process when its own step is done.
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
