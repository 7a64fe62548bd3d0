"""The map from MIDI to controls, a TOML file that `rtsep midi learn` writes:

stems = ["voice", "background"]   # of the model that it was learnt for
port = "nanoKONTROL2"             # left out: the only one there is
take-over = "soft"                # or "jump": a fader acts at once, wherever it stands

[[control]]
message = "cc"                    # or cc14, note, program, bend
channel = 1                       # 1 to 16
number = 7                        # 0 to 127 (cc14: to 31; a bend has none)
does = "gain"                     # or wet; buttons: mute, solo, bypass, preset, model
stem = "voice"                    # of gain, mute, solo; preset = "NAME", model = "NAME" of those
mode = "toggle"                   # of buttons; momentary: on while it is held
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rtsep.configuration import Document, folder
from rtsep.errors import WrongCall

MESSAGES = ("cc", "cc14", "note", "program", "bend")
FADERS, BUTTONS = ("gain", "wet"), ("mute", "solo", "bypass", "preset", "model")
MODES = ("toggle", "momentary")
_OF_STEM, _NAMED = ("gain", "mute", "solo"), ("preset", "model")
_TOP = ("stems", "port", "take-over", "control")
_KEYS = ("message", "channel", "number", "does", "stem", "preset", "model", "mode")


@dataclass(frozen=True)
class Binding:
    """What one MIDI control does."""

    message: str
    channel: int
    number: int
    does: str
    stem: str | None = None
    preset: str | None = None
    model: str | None = None
    mode: str = "toggle"


@dataclass(frozen=True)
class Map:
    """All of a surface. `soft`: a fader acts once it has met the control where that stands."""

    stems: tuple[str, ...]
    bindings: tuple[Binding, ...]
    port: str | None = None
    soft: bool = True
    document: Document | None = None

    def check_stems(self, model: str, stems: tuple[str, ...]) -> None:
        """Raises `WrongCall` where it was learnt for other stems than this model's."""
        for k, binding in enumerate(self.bindings):
            if binding.stem is not None and binding.stem not in stems:
                raise self.document.wrong(
                    f"{binding.stem!r}: {model} has {', '.join(stems)}; this map was learnt for "
                    f"{', '.join(self.stems)} (`rtsep midi learn --model {model}` makes another)",
                    "control",
                    k,
                    "stem",
                )


def place() -> Path:
    """Where the map is when no other is named; it need not exist."""
    return folder() / "midi.toml"


def load(path: Path | None = None) -> Map:
    """Raises `WrongCall`, with file and line where the map is wrong."""
    chosen = path or place()
    if not chosen.is_file():
        raise WrongCall(f"no MIDI map {chosen}: `rtsep midi learn` writes one")
    document = Document(chosen, "MIDI map")
    content = document.content
    document.only(content, _TOP)
    stems, port = content.get("stems"), content.get("port")
    if not isinstance(stems, list) or not all(isinstance(stem, str) for stem in stems):
        raise document.wrong('stems is a list, as ["voice", "background"]', "stems")
    if port is not None and not isinstance(port, str):
        raise document.wrong(f"port = {port!r}: a text", "port")
    take_over = content.get("take-over", "soft")
    if take_over not in ("soft", "jump"):
        raise document.wrong(f"take-over = {take_over!r}: soft or jump", "take-over")
    controls = content.get("control", [])
    if not isinstance(controls, list) or not all(isinstance(entry, dict) for entry in controls):
        raise document.wrong("controls stand in tables of their own, [[control]]", "control")
    bindings = tuple(_binding(document, k, entry, stems) for k, entry in enumerate(controls))
    seen: dict[tuple, int] = {}
    for k, b in enumerate(bindings):
        first = seen.setdefault((b.message, b.channel, b.number), k)
        if first != k:
            line = document.line("control", first)
            raise document.wrong(f"this control is used in line {line} already", "control", k)
    return Map(tuple(stems), bindings, port, take_over == "soft", document)


def save(path: Path, map: Map) -> None:
    """Writes a map; whole, or not at all. Raises `OSError`."""
    quote = json.dumps
    lines = [f"stems = [{', '.join(quote(stem) for stem in map.stems)}]"]
    if map.port is not None:
        lines.append(f"port = {quote(map.port)}")
    lines.append(f'take-over = "{"soft" if map.soft else "jump"}"')
    for b in map.bindings:
        lines += ["", "[[control]]", f'message = "{b.message}"', f"channel = {b.channel}"]
        lines += [f"number = {b.number}"] if b.message != "bend" else []
        lines.append(f'does = "{b.does}"')
        lines += [f"stem = {quote(b.stem)}"] if b.stem is not None else []
        lines += [f"preset = {quote(b.preset)}"] if b.preset is not None else []
        lines += [f"model = {quote(b.model)}"] if b.model is not None else []
        lines += [f'mode = "{b.mode}"'] if b.does in ("mute", "solo", "bypass") else []
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _binding(document: Document, k: int, entry: dict, stems: list[str]) -> Binding:
    def wrong(key: str, accepted: str) -> WrongCall:
        given = f"{key} = {entry[key]!r}" if key in entry else f"{key} is missing"
        return document.wrong(f"{given}: {accepted}", "control", k, key)

    def whole(key: str, low: int, high: int) -> int:
        value = entry.get(key)
        if type(value) is not int or not low <= value <= high:
            raise wrong(key, f"{low} to {high}")
        return value

    def among(key: str, accepted: tuple[str, ...]) -> str:
        if entry.get(key) not in accepted:
            raise wrong(key, ", ".join(accepted))
        return entry[key]

    document.only(entry, _KEYS, "control", k)
    message = among("message", MESSAGES)
    does = among("does", FADERS + BUTTONS)
    if does in FADERS and message in ("note", "program"):
        raise wrong("does", f"a {message} can be {', '.join(BUTTONS)}")
    if does in BUTTONS and message in ("bend", "cc14"):
        raise wrong("does", f"a {message} can be {', '.join(FADERS)}")
    if message == "program" and does not in _NAMED:
        raise wrong("does", f"a program can be {', '.join(_NAMED)}")
    needed = {"stem": does in _OF_STEM} | {name: does == name for name in _NAMED}
    for key, belongs in needed.items():
        if key in entry and not belongs:
            raise wrong(key, f"{does} has none")
    number = 0 if message == "bend" else whole("number", 0, 31 if message == "cc14" else 127)
    if message == "bend" and "number" in entry:
        raise wrong("number", "a bend has none")
    for name in _NAMED:
        if needed[name] and not isinstance(entry.get(name), str):
            raise wrong(name, f"a {name}'s name")
    mode = among("mode", MODES) if "mode" in entry else "toggle"
    return Binding(
        message=message,
        channel=whole("channel", 1, 16),
        number=number,
        does=does,
        stem=among("stem", tuple(stems)) if needed["stem"] else None,
        preset=entry.get("preset"),
        model=entry.get("model"),
        mode=mode,
    )
