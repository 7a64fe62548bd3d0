"""What a user keeps: the folder, and TOML files that say where in them something is wrong."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

from rtsep.errors import WrongCall


def folder() -> Path:
    """`RTSEP_CONFIG_DIR` where that is set, else the platform's folder for configuration."""
    if chosen := os.environ.get("RTSEP_CONFIG_DIR"):
        return Path(chosen)
    from platformdirs import user_config_dir

    return Path(user_config_dir("rtsep"))


class Document:
    """A TOML file: its `content`, and the line of whatever is wrong with it.

    Raises `WrongCall` for what can't be read; `what` it should be is named then.
    """

    def __init__(self, path: Path, what: str):
        self.path = path
        try:
            text = path.read_text(encoding="utf-8")
            self.content = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            what, _, where = str(error).rpartition(" (at ")
            line = re.match(r"line (\d+)", where)
            line = line[1] if line else len(text.splitlines())
            raise WrongCall(f"{path}:{line}: no TOML: {what}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise WrongCall(f"{path} is no {what}: {error}") from None
        self._lines = _lines(text)

    def line(self, *keys: str | int) -> int:
        """Where this key stands, or what holds it: names, and the index in an array of tables."""
        while keys and keys not in self._lines:
            keys = keys[:-1]
        return self._lines.get(keys, 1)

    def wrong(self, text: str, *keys: str | int) -> WrongCall:
        """An error at a key."""
        return WrongCall(f"{self.path}:{self.line(*keys)}: {text}")

    def table(self, name: str, known: tuple[str, ...]) -> dict:
        """A table at the top; empty where there is none. Its keys are among `known`."""
        table = self.content.get(name, {})
        if not isinstance(table, dict):
            raise self.wrong(f"{name} is a table, [{name}]", name)
        self.only(table, known, name)
        return table

    def only(self, table: dict, known: tuple[str, ...], *keys: str | int) -> None:
        """Raises for a key of this table, which stands at `keys`, that is not among `known`."""
        for key in table:
            if key not in known:
                raise self.wrong(f"what is {key!r}? There is {', '.join(known)}", *keys, key)


def _lines(text: str) -> dict[tuple[str | int, ...], int]:
    """The first line of each table and key."""
    places: dict[tuple[str | int, ...], int] = {}
    table: tuple[str | int, ...] = ()
    count: dict[tuple[str | int, ...], int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*(\[\[?)(.+?)\]", line)
        key = re.match(r"\s*([^#=\[]+?)\s*=", line)
        if header:
            table = _path(f"[{header[2]}]")
            if header[1] == "[[":
                count[table] = count.get(table, -1) + 1
                table = (*table, count[table])
        elif not key:
            continue
        path = table if header else (*table, *_path(f"{key[1]} = 0"))
        for k in range(1, len(path) + 1):
            places.setdefault(path[:k], number)
    return places


def _path(toml: str) -> tuple[str, ...]:
    """The one path that this line of TOML has."""
    path = []
    try:
        content = tomllib.loads(toml)
    except tomllib.TOMLDecodeError:
        return ()  # inside a text of several lines
    while isinstance(content, dict) and content:
        (key, content), *_ = content.items()
        path.append(key)
    return tuple(path)
