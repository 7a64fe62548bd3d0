"""A recipe: one small TOML that says what is trained, on what mixtures, and how."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path

from rtsep.errors import WrongCall

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Mixing:
    """How mixtures are drawn. Pairs are ranges, decibels are of power.

    Attributes:
        seconds: length of a mixture.
        snr: voice against background, dB.
        level: of the mixture, dB against full scale.
        voice_speed, noise_speed: how many times as fast as recorded.
        kinds: how often each kind of background is drawn, relative to each other.
        second: probability of a second background under the first.
        voice_room, noise_room, babble_room: probability that one stands in a room.
        partial: probability that the voice, or the background, is not there all the time.
        alone: probability that there is no voice; half of it that there is no background.
        babble: how many speakers are babble.
    """

    seconds: float = 3.0
    snr: tuple[float, float] = (-10, 15)
    level: tuple[float, float] = (-58, -12)
    voice_speed: tuple[float, float] = (0.9, 1.12)
    noise_speed: tuple[float, float] = (0.75, 1.35)
    kinds: dict[str, float] = field(
        default_factory=lambda: {
            "recorded": 0.48,
            "music": 0.14,
            "babble": 0.18,
            "stationary": 0.1,
            "machine": 0.1,
        }
    )
    second: float = 0.2
    voice_room: float = 0.25
    noise_room: float = 0.2
    babble_room: float = 0.5
    partial: float = 0.15
    alone: float = 0.04
    babble: tuple[int, int] = (3, 8)


@dataclass(frozen=True)
class Optimiser:
    """How the weights move.

    Attributes:
        steps: of the whole training, unless a time is given.
        rate: the learning rate after `warmup` steps.
        decay: the fraction of the training, at its end, over which the rate falls to zero.
        clip: the largest norm of a gradient.
        average: weight of the past in the average of the weights that is kept and shipped.
        background: weight of the other stems' loss against the primary's.
        autocast: bfloat16 where it is exact enough, on a device that multiplies it.
    """

    steps: int = 100_000
    batch: int = 8
    rate: float = 1e-3
    warmup: int = 500
    decay: float = 0.4
    weight_decay: float = 0.01
    clip: float = 5.0
    average: float = 0.999
    background: float = 0.3
    autocast: bool = True


@dataclass(frozen=True)
class Recipe:
    """One training.

    Attributes:
        arch, params: as `rtsep.create` takes them.
        development: the list that is held out and scored; "" for neither.
        seed: of the first weights and of all mixtures.
        card: what the checkpoint says of the model, as `rtsep.checkpoints.save` takes it.
    """

    name: str
    arch: str
    params: dict
    development: str = "dev"
    seed: int = 0
    mixing: Mixing = field(default_factory=Mixing)
    optimiser: Optimiser = field(default_factory=Optimiser)
    card: dict = field(default_factory=dict)


def read(name_or_path: str | Path) -> Recipe:
    """A recipe by the name of one that ships, or from a file. Raises `WrongCall`."""
    path = Path(name_or_path)
    if not path.is_file():
        path = RECIPES / f"{name_or_path}.toml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in RECIPES.glob("*.toml")))
        raise WrongCall(
            f"no recipe {str(name_or_path)!r}: neither a file nor one that ships ({known})"
        )
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise WrongCall(f"{path} is no recipe: {error}") from None
    model = _table(content, "model", path)
    if "arch" not in model:
        raise WrongCall(f"{path}: [model] names no arch")
    arch = model.pop("arch")
    rest = {key: value for key, value in content.items() if key not in _TABLES}
    for key, kind in (("name", str), ("development", str), ("seed", int)):
        if type(rest.get(key, kind())) is not kind:
            raise WrongCall(f"{path}: {key} = {rest[key]!r} is no {kind.__name__}")
    if unknown := rest.keys() - {"name", "seed", "development"}:
        raise WrongCall(f"{path}: what is {min(unknown)!r}?")
    return Recipe(
        name=rest.pop("name", path.stem),
        arch=arch,
        params=model,
        mixing=_settings(Mixing, _table(content, "mixing", path), path),
        optimiser=_settings(Optimiser, _table(content, "optimiser", path), path),
        card=_table(content, "card", path),
        **rest,
    )


_TABLES = ("model", "mixing", "optimiser", "card")


def _table(content: dict, name: str, path: Path) -> dict:
    table = content.get(name, {})
    if not isinstance(table, dict):
        raise WrongCall(f"{path}: [{name}] is no table")
    return dict(table)


def _settings(cls: type, table: dict, path: Path):
    """A dataclass from a table, each value checked against the type of the default."""
    defaults = cls()
    for key in table:
        if key not in {f.name for f in fields(cls)}:
            raise WrongCall(f"{path}: what is {key!r}? There is {', '.join(vars(defaults))}")
    values = {}
    for key, value in table.items():
        default = getattr(defaults, key)
        if isinstance(default, tuple):
            if not (isinstance(value, list) and len(value) == 2 and value[0] <= value[1]):
                raise WrongCall(f"{path}: {key} is a range, [least, most]")
            value = tuple(value)
        elif isinstance(default, dict):
            if not isinstance(value, dict) or value.keys() - default.keys():
                raise WrongCall(f"{path}: {key} is a table of {', '.join(default)}")
        elif isinstance(default, float) and isinstance(value, int):
            value = float(value)
        elif type(value) is not type(default):
            raise WrongCall(f"{path}: {key} = {value!r} is no {type(default).__name__}")
        values[key] = value
    return cls(**values)
