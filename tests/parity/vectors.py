"""The recorded vectors: where they are, and what is in them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

NAMED = os.environ.get("RTSEP_PARITY_DIR")
FOLDER = Path(NAMED or Path(__file__).parents[3] / "shared" / "parity")


@dataclass(frozen=True)
class Vector:
    """A safetensors file: tensors `input`, `output`, `weights/…`, and metadata that states the
    public class, its arguments and its conventions."""

    path: Path
    metadata: dict

    @classmethod
    def at(cls, path: Path) -> Vector:
        with safe_open(path, "pt") as file:
            return cls(path, file.metadata())

    @property
    def public_class(self) -> str:
        return self.metadata["class"]

    @property
    def config(self) -> dict:
        """The arguments of the public class."""
        return json.loads(self.metadata["config"])

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        return load_file(self.path)

    @property
    def weights(self) -> dict[str, Tensor]:
        """By the public names."""
        return {
            key.removeprefix("weights/"): value
            for key, value in self.tensors.items()
            if key.startswith("weights/")
        }

    @property
    def mixture(self) -> Tensor:
        """(batch, samples, channels)."""
        return self.tensors["input"].transpose(1, 2)

    def bound(self, name: str = "output") -> float:
        """Largest absolute difference allowed of the tensor of that name."""
        rounding = json.loads(self.metadata["float32_vs_float64_max_abs"])
        relative = 1e-5 * float(self.tensors[name].abs().max())
        return max(relative, 10 * rounding.get(name, rounding.get("output", 0.0)))


FOUND = [Vector.at(path) for path in sorted(FOLDER.glob("*.safetensors"))]
