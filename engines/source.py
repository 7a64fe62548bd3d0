"""Where an engine gets its model from: a name, a path or a model in memory."""

from __future__ import annotations

import copy
import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rtsep.checkpoints import load, read_spec
from rtsep.engines.protocol import StreamSpec
from rtsep.errors import WrongCall
from rtsep.models import find
from rtsep.spec import ModelSpec

if TYPE_CHECKING:
    from rtsep.models.base import Separator


class Source:
    """A model's spec at once, and without torch for a name or a path; the network when asked for.

    Raises what `rtsep.models.find` and `rtsep.checkpoints.read_spec` raise.
    """

    def __init__(self, model: str | Path | Separator) -> None:
        if isinstance(model, str | Path):
            self._path, self._model = find(model), None
        elif hasattr(model, "step") and hasattr(model, "stems"):
            self._path, self._model = None, model
        else:
            raise WrongCall(f"a model is a name, a path or a Separator, not {type(model).__name__}")

    @cached_property
    def spec(self) -> ModelSpec:
        return read_spec(self._path) if self._path else _describe(self._model)

    def network(self) -> Separator:
        """A network of the caller's own, in float32 and `eval`: no other engine has it."""
        network = load(self._path) if self._path else copy.deepcopy(self._model)
        return network.cpu().float().eval().requires_grad_(False)

    def stream(self, engine: str, chunk: int, batch: int, precision: str) -> StreamSpec:
        """The spec of an engine on the processor that is made of this model."""
        spec = self.spec
        return StreamSpec(
            model=spec.name,
            rate=spec.rate,
            channels=spec.channels,
            stems=spec.stems,
            primary=spec.primary,
            remainder=spec.remainder,
            chunk=chunk,
            batch=batch,
            latency=spec.latency,
            hop=spec.hop,
            precision=precision,
            device="cpu",
            engine=engine,
            digest=spec.digest,
        )


def _describe(model: Separator) -> ModelSpec:
    """A model's spec as it is now. The weights may have changed since it was loaded: hash them."""
    digest = hashlib.sha256(json.dumps([model.arch, model.params], sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return ModelSpec(
        name=model.spec.name if model.spec else model.arch,
        arch=model.arch,
        params=model.params,
        rate=model.rate,
        channels=model.channels,
        stems=model.stems,
        primary=model.primary,
        remainder=model.remainder,
        hop=model.hop,
        latency=model.latency,
        digest=digest.hexdigest(),
    )
