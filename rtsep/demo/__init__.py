"""Demo mixtures that ship with rtsep (speech plus background, 8 s each; see ATTRIBUTION.txt)."""

from __future__ import annotations

from pathlib import Path

from rtsep.errors import WrongCall

_FOLDER = Path(__file__).parent


def names() -> tuple[str, ...]:
    """The names of the demo mixtures."""
    return tuple(sorted(file.stem for file in _FOLDER.glob("*.flac")))


def path(name: str = "street") -> Path:
    """The FLAC file of a demo mixture. Raises `WrongCall` for an unknown name."""
    if name not in names():
        raise WrongCall(f"no demo named {name!r}; there is {', '.join(names())}")
    return _FOLDER / f"{name}.flac"
