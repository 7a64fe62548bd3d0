"""The stems' names and what they are for."""

from __future__ import annotations

from collections.abc import Sequence

from rtsep.errors import Failure


def named(roles: dict, count: int, known: Sequence[str] | None = None) -> dict:
    """The keyword arguments of a model of so many stems.

    They are called what `roles` says, else what the checkpoint says (`known`), else stem1, stem2, …
    """
    stems = tuple(roles["stems"] or known or (f"stem{i + 1}" for i in range(count)))
    if len(stems) != count:
        raise Failure(f"{len(stems)} stems named, the checkpoint has {count}")
    return roles | {"stems": stems}
