"""What is known about a model without its weights: the spec in a checkpoint. Needs no torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace

from rtsep.errors import Failure

FORMAT = 1


@dataclass(frozen=True)
class ModelSpec:
    """A model's description, as stored in its checkpoint.

    `params` are the keyword arguments of `rtsep.create(arch, **params)`; `rate` is in Hz, `hop`
    and `latency` in samples at that rate. `card` says on what the weights were trained, for how
    long, how they score and what they can't do. `digest` is the SHA-256 over spec and tensors.
    """

    name: str
    arch: str
    params: dict
    rate: int
    channels: int
    stems: tuple[str, ...]
    primary: str
    remainder: str
    hop: int
    latency: int
    card: dict = field(default_factory=dict)
    digest: str = ""

    def to_json(self) -> str:
        """One canonical text (sorted keys, no digest): what is stored and hashed."""
        content = asdict(self) | {"format": FORMAT, "stems": list(self.stems)}
        del content["digest"]
        return json.dumps(content, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str, digest: str = "") -> ModelSpec:
        """Raises `Failure` where the text is no spec, or one of a later format."""
        try:
            content = json.loads(text)
            version = content.pop("format")
        except (ValueError, KeyError, AttributeError, TypeError):
            raise Failure("the checkpoint's spec is damaged: it is no JSON object") from None
        if version != FORMAT:
            raise Failure(f"the checkpoint has format {version}, this rtsep reads {FORMAT}")
        names = {f.name for f in fields(cls)} - {"digest"}
        if set(content) != names:
            wrong = ", ".join(sorted(set(content) ^ names))
            raise Failure(f"the checkpoint's spec is damaged: missing or unknown {wrong}")
        if not (isinstance(content["params"], dict) and isinstance(content["stems"], list)):
            raise Failure("the checkpoint's spec is damaged: params or stems are none")
        content["stems"] = tuple(content["stems"])
        return cls(**content, digest=digest)

    def named(self, name: str) -> ModelSpec:
        return replace(self, name=name)
