"""A strip of the desk: a stem's fader, meter, mute and solo; or the mix's dry/wet and bypass."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, HorizontalScroll, Vertical
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Static

from rtsep.desk.fader import Fader
from rtsep.desk.law import GAIN, SHARE

_NARROWEST, _WIDEST = 9, 24  # columns


class Toggle(Widget):
    """A switch to click on, lit where it is on. `kind`: mute, solo or bypass."""

    on: reactive[bool] = reactive(False)

    class Pressed(Message):
        def __init__(self, toggle: Toggle):
            super().__init__()
            self.toggle = toggle

        @property
        def control(self) -> Toggle:
            return self.toggle

    _LIT = {"mute": "ansi_red", "solo": "ansi_yellow", "bypass": "ansi_magenta"}

    def __init__(self, kind: str, label: str, **names):
        super().__init__(**names)
        self.kind, self._label = kind, label

    def render(self) -> Content:
        text = f" {self._label} "
        if self.on:
            return Content.styled(text, f"bold reverse {self._LIT[self.kind]}")
        return Content(text)

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.post_message(self.Pressed(self))


class Strip(Vertical):
    """A name, a fader, its value, and switches by kind."""

    def __init__(self, title: str, fader: Fader, *toggles: Toggle):
        super().__init__()
        self.fader, self.toggles = fader, {toggle.kind: toggle for toggle in toggles}
        self._title, self._value, self._shown = title, Static(classes="value"), ""

    def compose(self) -> ComposeResult:
        yield Static(self._title, classes="name", markup=False)
        yield self.fader
        yield self._value
        with Horizontal(classes="switches"):
            yield from self.toggles.values()

    def put(self, value: float, **switches: bool) -> None:
        """Puts everything where the run has it."""
        self.fader.value = value
        text = self.fader.law.text(value)
        if text != self._shown:
            self._shown = text
            self._value.update(text)
        for kind, on in switches.items():
            self.toggles[kind].on = on


class Channel(Strip):
    """A stem's."""

    def __init__(self, stem: str):
        super().__init__(stem, Fader(GAIN), Toggle("mute", "M"), Toggle("solo", "S"))
        self.stem = stem

    def meter(self, level: float, heard: bool) -> None:
        """`level` in dBFS, `heard`: whether the listener gets any of it."""
        self.fader.level, self.fader.heard = level, heard
        self.set_class(not heard, "unheard")


class Master(Strip):
    """Dry against wet, and bypass."""

    def __init__(self):
        super().__init__("mix", Fader(SHARE), Toggle("bypass", "bypass"))


class Strips(HorizontalScroll, can_focus=False):
    """All strips side by side, as wide as there is room for."""

    def on_resize(self) -> None:
        self.share()

    def share(self) -> None:
        """Gives each its share of the width; where that is too little they scroll."""
        strips = list(self.query(Strip))
        room = self.content_region.width // max(1, len(strips)) - 1
        for strip in strips:
            strip.styles.width = min(_WIDEST, max(_NARROWEST, room))
