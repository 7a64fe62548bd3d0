"""`rtsep run --preset`: its options where the command line has none."""

from __future__ import annotations

from types import UnionType
from typing import TYPE_CHECKING, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand

from rtsep.errors import WrongCall

if TYPE_CHECKING:
    from rtsep.live.presets import Preset

# What options mean that are given without a value.
_ALONE = {"--midi": "", "--virtual-mic": "rtsep"}
_ELSEWHERE = {"gain": "gains", "mute": "mutes", "solo": "solos"}


class RunCommand(TyperCommand):
    """`run`: mistakes in its preset are told with file and line; some options may stand alone."""

    def parse_args(self, ctx, args):
        given = []
        for argument, following in zip(args, [*args[1:], "-"], strict=True):
            given.append(argument)
            if argument in _ALONE and following.startswith("-"):
                given.append(_ALONE[argument])
        return super().parse_args(ctx, given)

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except WrongCall as wrong:
            if ctx.obj is None:
                raise
            from_preset = {
                option.opts[0].removeprefix("--")
                for option in self.params
                if ctx.get_parameter_source(option.name).name == "DEFAULT_MAP"
            }
            raise ctx.obj.blame(wrong, from_preset) from None


def take(ctx: typer.Context, name: str | None) -> str | None:
    """The callback of --preset: from here on its options are the command's defaults."""
    if name is not None and not ctx.resilient_parsing:
        from rtsep.live import presets

        ctx.obj = presets.load(name)
        ctx.default_map = defaults(ctx.obj, ctx.command)
    return name


def defaults(preset: Preset, command: TyperCommand) -> dict[str, object]:
    """The preset's options by the parameters of `run`, which is `command`. Raises `WrongCall`."""
    known = _options(command)
    values = {}
    for key, value in preset.run.items():
        if key in _ELSEWHERE:
            where = f"it belongs into [controls], as {_ELSEWHERE[key]}"
            raise preset.document.wrong(f"{key}: {where}", "run", key)
        if key not in known:
            text = f"what is {key!r}? There is {', '.join(known)}"
            raise preset.document.wrong(text, "run", key)
        parameter, kind = known[key]
        try:
            values[parameter] = _value(value, kind)
        except TypeError as expected:
            raise preset.document.wrong(f"{key} = {value!r}: {expected}", "run", key) from None
    return values


def heard(preset: Preset | None, gains: dict, solo: tuple, mute: tuple):
    """The scene of a preset under what the command line says of stems."""
    from rtsep.live.scene import Scene

    scene = preset.scene if preset is not None else Scene()
    return Scene(
        gains=scene.gains | gains,
        solos=solo or scene.solos,
        mutes=mute or tuple(stem for stem in scene.mutes if stem not in solo),
        wet=scene.wet,
        bypass=scene.bypass,
    )


def _options(command: TyperCommand) -> dict[str, tuple[str, type]]:
    """By name without dashes: the parameter, and the type of its value."""
    from rtsep.cli.run import command as function

    options = {}
    hints = get_type_hints(function)
    for option in command.params:
        name = option.opts[0].removeprefix("--")
        if not option.hidden and name not in ("help", "preset", *_ELSEWHERE):
            hint = hints[option.name]
            kinds = get_args(hint) if get_origin(hint) is UnionType else (hint,)
            options[name] = (option.name, get_origin(kinds[0]) or kinds[0])
    return options


def _value(value: object, kind: type) -> object:
    """`value`, as the command line would have it. Raises `TypeError` that says what is meant."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is bool:
        if not isinstance(value, bool):
            raise TypeError("true or false")
    elif kind is int:
        if not number or isinstance(value, float):
            raise TypeError("a whole number")
    elif kind is float:
        if not number:
            raise TypeError("a number")
    elif kind is list:
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            raise TypeError("a list of texts")
    elif isinstance(value, str) or number:
        return str(value)
    else:
        raise TypeError("a text")
    return value
