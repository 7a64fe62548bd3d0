"""A control surface at work: what comes from it goes to the controls, and what they are comes back
to its motors and lights."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from rtsep.audio.fader import gain_at, place_of
from rtsep.errors import Failure
from rtsep.live.controls import Controls
from rtsep.live.midi.map import FADERS, Binding, Map
from rtsep.live.midi.messages import FINE, Message, decode, encode
from rtsep.live.midi.ports import Connection, Port
from rtsep.live.scene import Scene

_FEEDBACK = 0.05  # s between looks at the controls
_LOOK = 1.0  # s between looks for the device
_NEAR = 1.5 / 127  # of a fader's way: it has met the control


@dataclass
class _Fader:
    """`at`: where it stood last, `set`: where it put the control, once it has met that."""

    at: float | None = None
    set: float | None = None


class Surface:
    """From `start` (or `with`) to `close`: `receive` acts on a message's bytes.

    `preset(name)` gives a preset's scene, `swap(name)` changes the model (`Session.swap`); `say`
    is told what the user should know. Without a `port` nothing is connected: messages come from the
    caller, feedback goes nowhere.
    """

    def __init__(
        self,
        map: Map,
        controls: Controls,
        preset: Callable[[str], Scene],
        swap: Callable[[str], Future],
        say: Callable[[str], None] = lambda text: None,
        port: Port | None = None,
    ):
        self._map, self._controls, self._say = map, controls, say
        self._preset, self._swap = preset, swap
        self._bindings = {(b.message, b.channel, b.number): b for b in map.bindings}
        self._faders = {b: _Fader() for b in map.bindings if b.does in FADERS}
        self._coarse: dict[tuple[int, int], int] = {}
        self._shown: dict[Binding, list] = {}
        self._lock = threading.Lock()
        self._port = port
        self._device = None if port is None else Connection(port, self.receive)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._attend, name="rtsep-midi", daemon=True)

    def start(self) -> None:
        if self._device is not None:
            self._device.look()
            self._thread.start()

    def close(self) -> None:
        """May be called again."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._device is not None:
            self._device.close()

    def __enter__(self) -> Surface:
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def receive(self, data: Sequence[int]) -> None:
        """Bytes of one message; those that are none of ours, or damaged, change nothing."""
        message = decode(data)
        if message is None:
            return
        with self._lock:
            try:
                self._act(message)
            except Failure as failure:
                self._say(f"MIDI: {failure}")

    def _act(self, m: Message) -> None:
        if m.kind == "cc":
            self._fine(m)
        binding = self._bindings.get((m.kind, m.channel, m.number))
        if binding is None or not self._has(binding):
            return
        if binding.does in FADERS:
            self._move(binding, m.value / (16383 if m.kind == "bend" else 127))
        else:
            self._press(binding, m.value >= (1 if m.kind == "note" else 64))

    def _fine(self, m: Message) -> None:
        """Two messages of 7 bit that are one of 14: the high bits come first."""
        number = m.number % FINE
        binding = self._bindings.get(("cc14", m.channel, number))
        if binding is None or m.number >= 2 * FINE or not self._has(binding):
            return
        place, before = (m.channel, number), self._coarse.get((m.channel, number))
        if m.number < FINE:
            self._coarse[place] = m.value
            if m.value != before:
                self._move(binding, (m.value << 7) / 16383)
        elif before is not None:
            self._move(binding, (before << 7 | m.value) / 16383)

    def _move(self, binding: Binding, at: float) -> None:
        fader, stands = self._faders[binding], self._place(binding)
        before, fader.at = fader.at, at
        if self._map.soft:
            held = fader.set is not None and abs(stands - fader.set) < 1e-6
            passed = before is not None and min(before, at) <= stands <= max(before, at)
            if not held and not passed and abs(at - stands) > _NEAR:
                fader.set = None
                return
        if binding.does == "gain":
            self._controls.gains[binding.stem] = gain_at(at)
        else:
            self._controls.wet = at
        fader.set = self._place(binding)
        self._shown[binding] = encode(*_address(binding), fader.set)

    def _press(self, binding: Binding, down: bool) -> None:
        c = self._controls
        if binding.does in ("preset", "model"):
            if down and binding.does == "preset":
                c.recall(self._preset(binding.preset))
            elif down:
                self._swap(binding.model).add_done_callback(self._changed)
            return
        if binding.mode == "toggle":
            if not down:
                return
            on = not self._place(binding)
        else:
            on = down
        if binding.does == "bypass":
            c.bypass = on
        else:
            (c.mutes if binding.does == "mute" else c.solos)[binding.stem] = on

    def _has(self, binding: Binding) -> bool:
        """Whether the model that is heard has the stem."""
        return binding.stem is None or binding.stem in self._controls.stems

    def _changed(self, done: Future) -> None:
        if not done.cancelled() and done.exception() is not None:
            self._say(f"MIDI: {done.exception()}")

    def _place(self, binding: Binding) -> float:
        """Where the control stands, 0 to 1."""
        c = self._controls
        if binding.does == "gain":
            return place_of(c.gains[binding.stem])
        if binding.does in ("mute", "solo"):
            return float((c.mutes if binding.does == "mute" else c.solos)[binding.stem])
        return c.wet if binding.does == "wet" else float(c.bypass)

    def _attend(self) -> None:
        turns = 0
        while not self._over.wait(_FEEDBACK):
            turns += 1
            if turns % round(_LOOK / _FEEDBACK) == 0:
                self._look()
            if self._device.there:
                with self._lock:
                    self._show()

    def _look(self) -> None:
        happened = self._device.look()
        if happened == "gone":
            self._say(f"MIDI: {self._port.name} is gone")
        elif happened:
            self._say(f"MIDI: {self._port.name} is back")
            with self._lock:
                # Nobody knows where its faders stand now, nor what its lights show.
                self._faders = {b: _Fader() for b in self._faders}
                self._shown = {}

    def _show(self) -> None:
        """To the device what it does not show yet."""
        for binding in self._map.bindings:
            if binding.does in ("preset", "model") or not self._has(binding):
                continue
            messages = encode(*_address(binding), self._place(binding))
            if self._shown.get(binding) != messages:
                self._shown[binding] = messages
                for message in messages:
                    self._device.send(message)


def _address(binding: Binding) -> tuple[str, int, int]:
    return binding.message, binding.channel, binding.number
