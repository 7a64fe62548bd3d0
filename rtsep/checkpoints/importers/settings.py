"""What a checkpoint's tensors can't tell, by the names of the public class's arguments."""

from __future__ import annotations

from fractions import Fraction

from rtsep.errors import Failure

_KINDS = {
    int: "a whole number",
    float: "a number",
    str: "a word",
    bool: "true or false",
    list: "a list",
    dict: "an object of its own",
}


class Settings:
    """The arguments that are known, and one complaint about those that are not."""

    def __init__(self, given: dict, *, rate: int | None = None) -> None:
        self._given = {key: value for key, value in given.items() if value is not None}
        self.rate = rate

    @property
    def given(self) -> dict:
        """All that are known, unchecked."""
        return dict(self._given)

    def need(self, **wanted: type) -> list:
        """The values of these arguments; one error names all that are missing."""
        if missing := [name for name in wanted if name not in self._given]:
            raise Failure(
                f"the checkpoint does not tell {', '.join(missing)}: "
                f"name {'it' if len(missing) == 1 else 'them'} in a JSON file with --config"
            )
        return [self._checked(name, kind) for name, kind in wanted.items()]

    def get(self, name: str, kind: type, default):
        """The value of an argument that may be left out."""
        return self._checked(name, kind) if name in self._given else default

    def need_rate(self, name: str, **others: type) -> list:
        """As `need`, with the sample rate, called `name` there, first unless it was given."""
        if self.rate is not None:
            return [self.rate, *self.need(**others)]
        return self.need(**{name: int}, **others)

    def agree(self, **found: int | bool) -> None:
        """Raises where an argument is given that contradicts what the tensors show."""
        for name, value in found.items():
            if self.get(name, type(value), value) != value:
                raise Failure(
                    f"{name} is {self._given[name]} by the settings, {value} by the tensors"
                )

    def choice(self, name: str, value: str, choices: dict[str, str]) -> str:
        """Our name for a public value."""
        if value not in choices:
            raise Failure(f"{name} {value!r} can't be streamed or is unknown; {_said(choices)} can")
        return choices[value]

    def _checked(self, name: str, kind: type):
        value = self._given[name]
        if kind is int and isinstance(value, float) and value.is_integer():
            value = int(value)
        if kind is float and type(value) in (int, Fraction):
            value = float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise Failure(f"{name} is {value!r}: it must be {_KINDS[kind]}")
        return value


def _said(choices: dict[str, str]) -> str:
    *most, last = choices
    return f"{', '.join(most)} and {last}" if most else last
