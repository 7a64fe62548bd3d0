"""Where an engine gets its model from: a name, a path or a model in memory."""

from __future__ import annotations

import copy
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rtsep.checkpoints import describe, load, read_spec
from rtsep.engines import package
from rtsep.engines.protocol import StreamSpec
from rtsep.errors import WrongCall
from rtsep.models import find
from rtsep.spec import ModelSpec

if TYPE_CHECKING:
    from rtsep.models.base import Separator


class Source:
    """A model's spec at once, and without torch for a name or a path; the network when asked for.

    `packaged` says what was built for it, where it is a package.

    Raises what `rtsep.models.find`, `package.adopt` and `rtsep.checkpoints.read_spec` raise.
    """

    def __init__(self, model: str | Path | Separator) -> None:
        if isinstance(model, str | Path):
            self._path, self._model = find(model), None
            self.packaged = package.adopt(Path(model)) if Path(model).is_dir() else []
        elif hasattr(model, "step") and hasattr(model, "stems"):
            self._path, self._model, self.packaged = None, model, []
        else:
            raise WrongCall(f"a model is a name, a path or a Separator, not {type(model).__name__}")

    @cached_property
    def spec(self) -> ModelSpec:
        if self._path:
            return read_spec(self._path)
        # The weights may have changed since it was loaded: they are hashed as they are.
        model = self._model
        return describe(model, model.spec.name if model.spec else model.arch)

    def network(self) -> Separator:
        """A network of the caller's own, in float32 and `eval`: no other engine has it."""
        network = load(self._path) if self._path else copy.deepcopy(self._model)
        return network.cpu().float().eval().requires_grad_(False)

    def stream(
        self, engine: str, chunk: int, batch: int, precision: str, device: str = "cpu"
    ) -> StreamSpec:
        """The spec of an engine that is made of this model."""
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
            device=device,
            engine=engine,
            digest=spec.digest,
        )
