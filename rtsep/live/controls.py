"""The one table of controls: whatever changes what is heard (Python, keys, MIDI, OSC, a preset, the
desk) does it through `Controls`; the callback ramps there in 5 ms.

Solo and mute are a mixing desk's: several solos add up, and mute wins. As long as nobody has chosen
anything the primary stem is soloed; the first gain, mute or solo ends that, whoever sets it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from rtsep.errors import Failure, WrongCall
from rtsep.live import layout
from rtsep.live.description import described, seal
from rtsep.live.layout import Block, desired_gains
from rtsep.live.scene import Scene, check_stems, factor, share


class Controls:
    """The controls of a run, in its block: `gains` (factors), `mutes` and `solos` by stem; `wet`,
    `bypass`, `input_gain`.

        controls = Controls.attach(name)  # of another process's block
        controls.solos["voice"] = True

    Raises `WrongCall` for stems and values that can't be, `Failure` once the run is over here.
    """

    def __init__(self, block: Block):
        self._block, self._attached = block, False
        self._facts: tuple[int, dict] = (0, {})
        self.gains = Table(self, layout.GAIN, float, factor)
        self.mutes = Table(self, layout.MUTE, bool, _switch)
        self.solos = Table(self, layout.SOLO, bool, _switch)

    @classmethod
    def attach(cls, name: str) -> Controls:
        """Those of a run in another process, by its block's name. Raises `Failure`."""
        block = Block.attach(name)
        if not seal(block):
            block.close()
            raise Failure(f"the run of block {name!r} has not been made yet")
        controls = cls(block)
        controls._attached = True
        return controls

    def close(self) -> None:
        """Lets go of a block that was attached to; a run's own stays until the run is over."""
        if self._attached:
            self._block.close()

    @property
    def facts(self) -> dict:
        """The run's description: see `described`."""
        self._values()
        sealed = seal(self._block)
        if self._facts[0] != sealed:
            self._facts = (sealed, described(self._block))
        return self._facts[1]

    @property
    def stems(self) -> tuple[str, ...]:
        return tuple(self.facts["stems"])

    @property
    def untouched(self) -> bool:
        """Whether nobody has chosen anything yet, so that the primary stem is soloed."""
        self._values()
        return bool(self._block.i64[layout.UNTOUCHED])

    @property
    def wet(self) -> float:
        """1: the mix as the gains make it; 0: the mixture as it was; in between, both."""
        return float(self._values()[layout.WET])

    @wet.setter
    def wet(self, value: float) -> None:
        value = share(value)
        self._values()[layout.WET] = value

    @property
    def bypass(self) -> bool:
        """The mixture as it was, bit for bit, at the same latency."""
        return bool(self._values()[layout.BYPASS])

    @bypass.setter
    def bypass(self, on: bool) -> None:
        self._values()[layout.BYPASS] = _switch(on)

    @property
    def input_gain(self) -> float:
        """A factor on what comes in, before everything else."""
        return float(self._values()[layout.INPUT_GAIN])

    @input_gain.setter
    def input_gain(self, value: float) -> None:
        value = factor(value)
        self._values()[layout.INPUT_GAIN] = value

    @property
    def heard(self) -> dict[str, float]:
        """By stem, the factor that gain, mute and solo come to."""
        self._values()
        gains = desired_gains(self._block)
        return {stem: float(gains[slot]) for stem, slot in self._slots().items()}

    @property
    def scene(self) -> Scene:
        """Where the controls stand now."""
        untouched = self.untouched
        return Scene(
            gains={} if untouched else dict(self.gains),
            mutes=tuple(stem for stem, on in self.mutes.items() if on),
            solos=tuple(stem for stem, on in self.solos.items() if on and not untouched),
            wet=self.wet,
            bypass=self.bypass,
        )

    def recall(self, scene: Scene) -> None:
        """Puts all controls where `scene` has them; nothing is changed where it can't be."""
        stems, values = self.stems, self._values()
        check_stems(scene.stems, self.facts["model"], stems)
        wet = share(scene.wet)
        untouched = not scene.chooses and not self.facts["routed"]
        solos = (self.facts["primary"],) if untouched else scene.solos
        slots = list(self._slots().values())
        for first, places, wanted in (
            (layout.GAIN, slots, [factor(scene.gains.get(stem, 1.0)) for stem in stems]),
            (layout.MUTE, slots, [stem in scene.mutes for stem in stems]),
            (layout.SOLO, slots, [stem in solos for stem in stems]),
            (layout.WET, [0, 1], [wet, scene.bypass]),
        ):
            values[[first + place for place in places]] = wanted
        self._block.i64[layout.UNTOUCHED] = untouched

    def _choose(self, slot: int, value: float) -> None:
        """Somebody chooses: that the primary stem is soloed was only ours."""
        ours = layout.SOLO + self._slots()[self.facts["primary"]]
        values, untouched = self._values(), self.untouched
        values[slot] = value
        if untouched:
            self._block.i64[layout.UNTOUCHED] = 0
            # Last, so that nothing is heard meanwhile that neither was nor will be.
            if slot != ours:
                values[ours] = 0

    def _slots(self) -> dict[str, int]:
        """By stem, where its controls stand."""
        facts = self.facts
        return dict(zip(facts["stems"], facts.get("slots", range(layout.MAX_STEMS)), strict=False))

    def _values(self):
        values = self._block.f64
        if values is None:
            raise Failure("this run is over: make another rtsep.Live")
        return values


class Table(Mapping):
    """One kind of control by stem, of those that the run has now; values can be assigned."""

    def __init__(
        self,
        controls: Controls,
        first: int,
        read: Callable[[float], float | bool],
        write: Callable[[float | bool], float],
    ):
        self._controls, self._first, self._read, self._write = controls, first, read, write

    def __getitem__(self, stem: str) -> float | bool:
        slot = self._slot(stem)
        return self._read(self._controls._values()[slot])

    def __setitem__(self, stem: str, value: float | bool) -> None:
        self._controls._choose(self._slot(stem), self._write(value))

    def __iter__(self) -> Iterator[str]:
        return iter(self._controls.stems)

    def __len__(self) -> int:
        return len(self._controls.stems)

    def __repr__(self) -> str:
        return repr(dict(self)) if self._controls._block.f64 is not None else "{}"

    def update(self, values: Mapping[str, float | bool]) -> None:
        """Assigns several."""
        for stem, value in values.items():
            self[stem] = value

    def _slot(self, stem: str) -> int:
        self._controls._values()
        slots = self._controls._slots()
        if stem not in slots:
            raise WrongCall(f"no stem {stem!r}: there is {', '.join(slots)}")
        return self._first + slots[stem]


def _switch(on: bool) -> float:
    return float(bool(on))
