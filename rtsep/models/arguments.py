"""What a model's arguments may be, told in one line where they are not."""

from __future__ import annotations

from rtsep.errors import WrongCall


def one_of(**choices: tuple[str, object]) -> None:
    """Raises for the first argument whose value is none of those accepted."""
    for name, (value, accepted) in choices.items():
        if value not in accepted:
            raise WrongCall(f"{name} {value!r}: it is one of {', '.join(accepted)}")


def at_least(least: int, **sizes: float) -> None:
    """Raises for the first argument that is smaller."""
    for name, size in sizes.items():
        if size < least:
            raise WrongCall(f"{name} {size}: it is at least {least}")
