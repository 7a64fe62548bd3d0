"""Presets: options of a run, and where its controls stand, in a TOML file of the user's.

[run]
model = "convtasnet"     # any option of `rtsep run`, without its dashes
block = 128

[controls]
mutes = ["background"]   # also solos, wet (0 to 1), bypass
[controls.gains]
voice = "3dB"            # or 3, in dB
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from rtsep.audio.levels import MOST_DB, parse
from rtsep.configuration import Document
from rtsep.configuration import folder as configuration
from rtsep.errors import WrongCall
from rtsep.live.scene import Scene, check_stems

_CONTROLS = ("gains", "mutes", "solos", "wet", "bypass")


@dataclass(frozen=True)
class Preset:
    """`run`: options of `rtsep run` by name, as they stand in the file; `scene`: the controls."""

    name: str
    run: dict[str, object]
    scene: Scene
    document: Document

    def check_stems(self, model: str, stems: tuple[str, ...]) -> None:
        """Raises `WrongCall` where the controls name a stem that the model lacks."""
        controls = self.document.content.get("controls", {})
        for kind in ("gains", "mutes", "solos"):
            for stem in controls.get(kind, ()):
                try:
                    check_stems([stem], model, stems)
                except WrongCall as wrong:
                    keys = ("controls", kind, stem)
                    raise self.document.wrong(str(wrong), *keys) from None

    def blame(self, wrong: WrongCall, taken: Collection[str]) -> WrongCall:
        """What went wrong in a run that has `taken` these options from the preset: with file and
        line, where it is the preset's doing."""
        text = str(wrong)
        if (option := re.match(r"--([a-z-]+)", text)) and option[1] in taken:
            return self.document.wrong(text, "run", option[1])
        if (stem := re.match(r"no stem '([^']*)'", text)) and stem[1] in self.scene.stems:
            for kind in ("gains", "mutes", "solos"):
                if stem[1] in self.document.content["controls"].get(kind, ()):
                    return self.document.wrong(text, "controls", kind, stem[1])
        return wrong


def folder() -> Path:
    """Where presets are; it need not exist."""
    return configuration() / "presets"


def names() -> list[str]:
    """Of all presets there are."""
    return sorted(path.stem for path in folder().glob("*.toml"))


def place(name_or_file: str | Path) -> Path:
    """The file of a preset. Raises `WrongCall` where there is none."""
    for path in (folder() / f"{name_or_file}.toml", Path(name_or_file)):
        if path.is_file():
            return path
    known = ", ".join(names()) or "none yet"
    raise WrongCall(f"no preset {str(name_or_file)!r}: neither a file nor in {folder()} ({known})")


def load(name_or_file: str | Path) -> Preset:
    """A preset by name, or from a file. Raises `WrongCall`, with file and line where it is wrong.

    Whether `run` has such options is known to the command alone.
    """
    path = place(name_or_file)
    document = Document(path, "preset")
    document.only(document.content, ("run", "controls"))
    run = document.content.get("run", {})
    if not isinstance(run, dict):
        raise document.wrong("run is a table, [run]", "run")
    return Preset(path.stem, run, _scene(document), document)


def _scene(document: Document) -> Scene:
    table = document.table("controls", _CONTROLS)
    gains = table.get("gains", {})
    if not isinstance(gains, dict):
        raise document.wrong("gains is a table of stems, [controls.gains]", "controls", "gains")
    wet, bypass = table.get("wet", 1.0), table.get("bypass", False)
    if isinstance(wet, bool) or not isinstance(wet, int | float) or not 0 <= wet <= 1:
        raise document.wrong(f"wet = {wet!r}: between 0 and 1", "controls", "wet")
    if not isinstance(bypass, bool):
        raise document.wrong(f"bypass = {bypass!r}: true or false", "controls", "bypass")
    return Scene(
        gains={stem: _gain(document, stem, value) for stem, value in gains.items()},
        mutes=_stems(document, table, "mutes"),
        solos=_stems(document, table, "solos"),
        wet=float(wet),
        bypass=bypass,
    )


def _gain(document: Document, stem: str, value) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        return parse(f"{value:f}" if number else value)
    except (WrongCall, AttributeError):
        raise document.wrong(
            f'{stem} = {value!r}: a gain in dB, as -6, "-6dB" or "-inf", at most {MOST_DB:g}',
            "controls",
            "gains",
            stem,
        ) from None


def _stems(document: Document, table: dict, kind: str) -> tuple[str, ...]:
    stems = table.get(kind, [])
    if not isinstance(stems, list) or not all(isinstance(stem, str) for stem in stems):
        raise document.wrong(f'{kind} is a list of stems, as ["voice"]', "controls", kind)
    return tuple(stems)
