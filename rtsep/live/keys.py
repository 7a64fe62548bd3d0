"""What a key does to a run's controls, whichever terminal it was pressed in."""

from __future__ import annotations

from rtsep.audio.fader import nudged
from rtsep.audio.levels import describe
from rtsep.live.controls import Controls

STEP_DB = 1.0
HELP = "keys: 1-9 choose a stem, m mute, s solo, + - gain, 0 its 0 dB, b bypass, q quit"


class Keys:
    """`press(key)` acts, and says in a few words what it did; "" for a key that does nothing."""

    def __init__(self, controls: Controls):
        self._controls = controls
        self._chosen = 0

    @property
    def stem(self) -> str:
        """The one that m, s, + and - are for."""
        stems = self._controls.stems
        return stems[min(self._chosen, len(stems) - 1)]

    def press(self, key: str) -> str:
        c = self._controls
        if key == "b":
            c.bypass = not c.bypass
            return f"bypass {'on' if c.bypass else 'off'}"
        if key in "123456789" and int(key) <= len(c.stems):
            self._chosen = int(key) - 1
            return f"{self.stem} is chosen"
        stem = self.stem
        if key in ("m", "s"):
            switches = c.mutes if key == "m" else c.solos
            switches[stem] = not switches[stem]
            kind = "mute" if key == "m" else "solo"
            return f"{stem}: {kind} {'on' if switches[stem] else 'off'}"
        if key in ("+", "=", "-", "_"):
            c.gains[stem] = nudged(c.gains[stem], STEP_DB if key in "+=" else -STEP_DB)
            return f"{stem}: {describe(c.gains[stem])}"
        if key == "0":
            c.gains[stem] = 1.0
            return f"{stem}: {describe(1.0)}"
        return ""
