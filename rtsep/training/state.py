"""Where a training stands, and its files: what it takes to go on as if nothing had happened."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from rtsep.errors import Failure
from rtsep.training.muon import Muon


@dataclass
class TrainingState:
    """The weights, their running average, the optimisers, and how far they are.

    `seconds` is the time spent training, over all runs; `earlier` is what the first weights were
    trained for before: {"steps", "minutes", "history"}, or nothing. There is no state of random
    numbers: what is drawn depends on the step alone.
    """

    model: nn.Module
    average: nn.Module
    optimisers: tuple[torch.optim.Optimizer, ...]
    step: int = 0
    seconds: float = 0.0
    earlier: dict = field(default_factory=dict)

    @classmethod
    def begin(
        cls, model: nn.Module, rate: float, weight_decay: float, dtype: torch.dtype
    ) -> TrainingState:
        """Before the first step; `dtype` is that of Muon's products."""
        # Muon learns the matrices about twice as fast per step; it is made for those alone. Only
        # what multiplies is decayed: biases, norms and slopes have one dimension.
        matrices = [p for p in model.parameters() if p.dim() == 2]
        kernels = [p for p in model.parameters() if p.dim() > 2]
        vectors = [p for p in model.parameters() if p.dim() < 2]
        others = torch.optim.AdamW(
            [
                {"params": kernels, "weight_decay": weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=rate,
        )
        optimisers = [others]
        if matrices:
            optimisers.append(Muon(matrices, rate, weight_decay, dtype))
        average = copy.deepcopy(model).requires_grad_(False).eval()
        return cls(model, average, tuple(optimisers))

    @torch.no_grad()
    def update_average(self, decay: float) -> None:
        """Moves the average towards the weights; faster at first, so that it forgets the start."""
        decay = min(decay, (1 + self.step) / (10 + self.step))
        mean, now = list(self.average.parameters()), list(self.model.parameters())
        torch._foreach_lerp_(mean, now, 1 - decay)

    def save(self, path: Path, identity: dict) -> None:
        """Writes all of it; whole, or the file that was there before stays."""
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        content = {
            "identity": identity,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "step": self.step,
            "seconds": self.seconds,
            "earlier": self.earlier,
        }
        try:
            torch.save(content, part)
            part.replace(path)
        except (OSError, RuntimeError) as error:
            raise Failure(f"can't write {path}: {error}") from None
        finally:
            part.unlink(missing_ok=True)

    def load(self, path: Path, identity: dict) -> None:
        """Takes over what `save` wrote. Raises `Failure` where it is of another model."""
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            raise Failure(f"nothing to resume: there is no {path}") from None
        except Exception as error:
            raise Failure(f"can't read {path}: {error}") from None
        if content["identity"] != identity:
            raise Failure(f"{path} is of another model or seed than the recipe's")
        self.model.load_state_dict(content["model"])
        self.average.load_state_dict(content["average"])
        for optimiser, stored in zip(self.optimisers, content["optimisers"], strict=True):
            optimiser.load_state_dict(stored)
        self.step, self.seconds = content["step"], content["seconds"]
        self.earlier = content["earlier"]
