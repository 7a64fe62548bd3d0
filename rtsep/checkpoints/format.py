"""Our checkpoint format: safetensors, whose metadata holds the spec and a SHA-256.

The digest is over the spec's text and, tensor by tensor in order of name, its name, type, shape
and bytes. `read_spec` reads and checks all of it without torch.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rtsep.errors import Failure
from rtsep.models import create, find
from rtsep.spec import ModelSpec

if TYPE_CHECKING:
    from rtsep.models.base import Separator

_HEADER_LIMIT = 100 << 20


def save(
    model: Separator, path: str | Path, *, name: str | None = None, card: dict | None = None
) -> ModelSpec:
    """Writes a model's weights and spec; `card` is what the spec says beyond its shape.

    Written under a temporary name first, so that a checkpoint is whole or not there. Raises
    `Failure` where the file can't be written.
    """
    from safetensors.torch import save as to_bytes

    path = Path(path)
    spec = describe(model, path.stem if name is None else name, card)
    metadata = {"rtsep": spec.to_json(), "sha256": spec.digest}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(to_bytes(_tensors(model), metadata=metadata))
        temporary.replace(path)
    except OSError as error:
        raise Failure(f"can't write {path}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            temporary.unlink()
    return spec


def describe(model: Separator, name: str, card: dict | None = None) -> ModelSpec:
    """The spec of a model as it is now, weights included in its digest.

    Raises `Failure` where the weights are of a type that a checkpoint does not hold.
    """
    spec = ModelSpec(
        name=name,
        arch=model.arch,
        params=model.params,
        rate=model.rate,
        channels=model.channels,
        stems=model.stems,
        primary=model.primary,
        remainder=model.remainder,
        hop=model.hop,
        latency=model.latency,
        card=card or {},
    )
    parts = []
    for key, value in _tensors(model).items():
        if str(value.dtype) not in _DTYPES:
            accepted = ", ".join(_DTYPES)
            raise Failure(f"weights in {value.dtype} are not kept; it takes {accepted}")
        content = value.view(-1).numpy().tobytes()
        parts.append((key, _DTYPES[str(value.dtype)], list(value.shape), content))
    return replace(spec, digest=_digest(spec.to_json(), parts))


def read_spec(path: str | Path) -> ModelSpec:
    """The spec of a checkpoint, whose digest is checked over all that is in the file.

    Raises `Failure` where the file can't be read, is no checkpoint of ours, or was changed.
    """
    path = Path(path)
    metadata, parts = _read(path)
    text, expected = metadata.get("rtsep"), metadata.get("sha256")
    if text is None or expected is None:
        raise Failure(_foreign(path))
    if _digest(text, parts) != expected:
        raise Failure(f"{path} is damaged: its content does not match its SHA-256")
    return ModelSpec.from_json(text, expected)


def parameter_count(path: str | Path) -> int:
    """How many numbers the weights of a checkpoint hold."""
    return sum(math.prod(shape) for _, _, shape, _ in _read(Path(path))[1])


def load(name_or_path: str | Path) -> Separator:
    """The model of a checkpoint, ready to run (`eval`), its spec as `.spec`.

    Raises `WrongCall` where there is no such model, `Failure` where the file is damaged or its
    tensors contradict its spec.
    """
    import torch
    from safetensors.torch import load_file

    path = find(name_or_path)
    spec = read_spec(path)
    try:
        model = create(spec.arch, **spec.params)
    except Failure as failure:
        raise Failure(f"{path}: its spec makes no model: {failure}") from None
    tensors = load_file(path)
    expected = model.state_dict()
    if problem := _mismatch(tensors, expected):
        raise Failure(f"{path}: the tensors contradict the spec: {problem}")
    for key, value in tensors.items():
        if not torch.isfinite(value).all():
            raise Failure(f"{path}: tensor {key} holds NaN or infinity")
    model.load_state_dict(tensors)
    declared = (spec.hop, spec.latency, spec.stems, spec.rate, spec.channels)
    if declared != (model.hop, model.latency, model.stems, model.rate, model.channels):
        raise Failure(f"{path}: the spec contradicts its own parameters (hop, latency, stems, …)")
    model.spec = spec
    return model.eval()


def _read(path: Path) -> tuple[dict, list[tuple[str, str, list[int], memoryview]]]:
    """Metadata, and (name, type, shape, bytes) of each tensor, of a safetensors file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Failure(f"can't read {path}: {error.strerror or error}") from None
    if content.startswith(b"PK"):
        raise Failure(_foreign(path))  # a zip archive, as torch.save writes them
    try:
        length = int.from_bytes(content[:8], "little")
        if length > min(_HEADER_LIMIT, len(content) - 8):
            raise ValueError
        header = json.loads(content[8 : 8 + length])
        metadata = header.pop("__metadata__", {})
        body = memoryview(content)[8 + length :]
        parts = [
            (key, entry["dtype"], entry["shape"], body[slice(*entry["data_offsets"])])
            for key, entry in header.items()
        ]
        # A slice ends with the body, however far beyond it the header says.
        if max(entry["data_offsets"][1] for entry in header.values()) != len(body):
            raise ValueError
        if sum(len(part[3]) for part in parts) != len(body):
            raise ValueError
        if not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Failure(f"{path} is no safetensors file, or is damaged") from None
    return metadata, parts


def _foreign(path: Path) -> str:
    return (
        f"{path} is no rtsep checkpoint: convert a public one with "
        f"'rtsep import {path} --out X.safetensors'"
    )


def _tensors(model: Separator) -> dict:
    return {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}


def _mismatch(tensors: dict, expected: dict) -> str:
    """How two state dicts differ, in a few words; empty where they don't."""
    missing = sorted(expected.keys() - tensors.keys())
    extra = sorted(tensors.keys() - expected.keys())
    shaped = [k for k in expected.keys() & tensors.keys() if expected[k].shape != tensors[k].shape]
    if missing:
        return f"{len(missing)} missing, the first is {missing[0]}"
    if extra:
        return f"{len(extra)} too many, the first is {extra[0]}"
    if shaped:
        key = min(shaped)
        return f"{key} is {tuple(tensors[key].shape)}, expected {tuple(expected[key].shape)}"
    return ""


def _digest(text: str, parts: Iterable[tuple[str, str, list[int], bytes | memoryview]]) -> str:
    # What a damaged header holds need not be text that can be encoded.
    digest = hashlib.sha256(text.encode(errors="surrogatepass"))
    for key, dtype, shape, content in sorted(parts, key=lambda part: part[0]):
        digest.update(f"\n{key} {dtype} {shape}\n".encode(errors="surrogatepass"))
        digest.update(content)
    return digest.hexdigest()


_DTYPES = {"torch.float32": "F32", "torch.float64": "F64", "torch.int64": "I64"}
