"""Pickled arguments: numbers, words, lists and dictionaries, and nothing that would run."""

from __future__ import annotations

import io
import pickle

from rtsep.errors import Failure


def unpickled(content: bytes) -> dict:
    """The dictionary that was pickled; `Failure` where it is none, or where it needs a class."""
    try:
        value = _Plain(io.BytesIO(content)).load()
    except Failure:
        raise
    except Exception as error:
        # Bytes that are no pickle may raise anything.
        raise Failure(f"the stored arguments can't be read: {error}") from None
    if not isinstance(value, dict):
        raise Failure(f"the stored arguments are a {type(value).__name__}, not a dictionary")
    return value


class _Plain(pickle.Unpickler):
    """Every object of a pickle beyond the plain types begins with a class or function by name."""

    def find_class(self, module: str, name: str):
        raise Failure(f"the stored arguments ask for {module}.{name}, which is code")
