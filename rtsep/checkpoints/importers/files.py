"""Public checkpoint files and the settings beside them."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor

from rtsep.checkpoints.importers.plain import unpickled
from rtsep.errors import Failure

# Classes that public packages store beside the arguments they were built with.
_NAMED = ("demucs.demucs.Demucs", "demucs.htdemucs.HTDemucs", "denoiser.demucs.Demucs")


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict]:
    """A state dict and the arguments stored with it (none in most formats).

    Pickled files are read with `weights_only=True`: what would need code of theirs is refused. Of
    the few classes that are known, the name alone is taken in.
    """
    if not path.is_file():
        raise Failure(f"can't read {path}: no such file")
    try:
        content = _load(path)
    except OSError as error:
        raise Failure(f"can't read {path}: {error.strerror or error}") from None
    except Exception as error:
        # A reader may raise anything about a file that is none.
        raise Failure(f"{path} is no checkpoint that can be read safely{_why(error)}") from None
    if not isinstance(content, Mapping):
        raise Failure(f"{path} holds no state dict but a {type(content).__name__}")
    if isinstance(content.get("config"), bytes):
        # As hs-tasnet stores them: a pickle of the arguments within that of the tensors.
        content = {"state_dict": content.get("model"), "model_args": unpickled(content["config"])}
    kinds = ("model_args", "kwargs", "metadata")
    stored = next((content[kind] for kind in kinds if kind in content), {})
    kept = (content.get(key) for key in ("model_state_dict", "state_dict", "state"))
    tensors = next((value for value in kept if value is not None), content)
    if not isinstance(tensors, Mapping) or not isinstance(stored, Mapping):
        raise Failure(f"{path}: state_dict and model_args are no dictionaries")
    if isinstance(content.get("args"), tuple | list) and content["args"]:
        raise Failure(f"{path} stores arguments without their names: a plain state dict is read")
    for key, value in tensors.items():
        if not isinstance(value, Tensor):
            raise Failure(f"{path}: {key} is no tensor, so this is no state dict")
    if not tensors:
        raise Failure(f"{path} holds no tensors")
    return dict(tensors), dict(stored)


def read_config(path: str | Path | None) -> dict:
    """The arguments of a public class: a JSON object, or its entry `config`; {} for None.

    A `sample_rate` beside that entry counts, where the class has no argument for it.
    """
    if path is None:
        return {}
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise Failure(f"can't read {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise Failure(f"{path} is no JSON: {error}") from None
    if isinstance(content, dict) and isinstance(content.get("config"), dict):
        beside = {key: content[key] for key in ("sample_rate",) if key in content}
        content = beside | content["config"]
    if not isinstance(content, dict):
        raise Failure(f"{path} holds no JSON object with the model's arguments")
    return content


def _why(error: Exception) -> str:
    """What is worth saying of a reader's complaint: the code that a pickle asks for."""
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    return f": it asks for {found[1]}, which is code" if found else ""


def _load(path: Path) -> object:
    with path.open("rb") as file:
        start = file.read(9)
    # A safetensors file begins with the length of its header, and the header with a brace.
    if start[8:] == b"{":
        from safetensors.torch import load_file

        return load_file(path)
    with warnings.catch_warnings():
        # A file of an unusual make is read or refused; neither needs advice for torch's authors.
        warnings.simplefilter("ignore")
        # Stand-ins for the named classes: none of theirs is imported, let alone run.
        known = [(type(name, (), {}), name) for name in _NAMED]
        with torch.serialization.safe_globals([*known, Fraction]):
            return torch.load(path, map_location="cpu", weights_only=True)
