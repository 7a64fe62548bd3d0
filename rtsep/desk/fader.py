"""A fader with a scale and a meter: arrow and page keys, 0, drag, wheel, double click."""

from __future__ import annotations

from textual import events
from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from rtsep.desk.law import Law
from rtsep.desk.meter import upright

_WIDTH = 9  # columns: scale, track, meter
_LEAP = 6  # steps of page up and page down


class Fader(Widget, can_focus=True):
    """Shows `value`, as whoever watches the controls sets it; what is asked for is `Moved`.

    `level` in dBFS (None: no meter); `heard`: whether the listener gets any of it.
    """

    BINDINGS = [
        Binding("left", "app.focus_previous", show=False),
        Binding("right", "app.focus_next", show=False),
        # By way of the desk: keys that were pressed fast are for the fader that they chose.
        Binding("up,plus,equals_sign", "app.nudge(1)", show=False),
        Binding("down,minus,underscore", "app.nudge(-1)", show=False),
        Binding("pageup,shift+up", f"app.nudge({_LEAP})", show=False),
        Binding("pagedown,shift+down", f"app.nudge({-_LEAP})", show=False),
        Binding("0", "app.whole", show=False),
    ]

    value: reactive[float] = reactive(1.0)
    level: reactive[float | None] = reactive(None)
    heard: reactive[bool] = reactive(True)

    class Moved(Message):
        def __init__(self, fader: Fader, value: float):
            super().__init__()
            self.fader, self.value = fader, value

        @property
        def control(self) -> Fader:
            return self.fader

    def __init__(self, law: Law, **names):
        super().__init__(**names)
        self.law = law

    def render(self) -> Content:
        height, width = max(2, self.size.height), self.size.width
        marks = {self._row(place): label for place, label in self.law.marks}
        meter = upright(-120.0 if self.level is None else self.level, height)
        gap = " " if width > _WIDTH else ""
        left, knob = max(0, (width - _WIDTH) // 2), self._row(self.law.place(self.value))
        rows = []
        for y in range(height):
            parts = [Content(" " * left), Content.styled(f"{marks.get(y, ''):>3s}{gap}", "dim")]
            if y == knob:
                style = "bold ansi_cyan reverse" if self.has_focus else "reverse"
                parts.append(Content.styled("───", style))
            else:
                track = "─┼─" if y in marks else " │ "
                parts.append(Content.styled(track, "dim"))
            if self.level is not None:
                glyph, colour = meter[y]
                parts.append(Content.styled(f" {2 * glyph}", colour if self.heard else "dim"))
            rows.append(Content("").join(parts))
        return Content("\n").join(rows)

    def nudge(self, steps: int) -> None:
        self._ask(self.law.nudged(self.value, steps))

    def whole(self) -> None:
        self._ask(self.law.whole)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self.focus()
        self.capture_mouse()
        self._slide(event.y)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self.app.mouse_captured is self:
            self._slide(event.y)

    def on_mouse_up(self, event: events.MouseUp) -> None:
        self.release_mouse()

    def on_click(self, event: events.Click) -> None:
        if event.chain == 2:
            self.whole()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.nudge(1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.nudge(-1)

    def _row(self, place: float) -> int:
        return round((1 - place) * (max(2, self.size.height) - 1))

    def _slide(self, y: int) -> None:
        """To where the mouse is; on a row with a mark, to the mark."""
        place = 1 - y / (max(2, self.size.height) - 1)
        marked = (mark for mark, _ in self.law.marks if self._row(mark) == y)
        self._ask(self.law.value(next(marked, place)))

    def _ask(self, value: float) -> None:
        self.value = value  # the next step is from here, however soon it comes
        self.post_message(self.Moved(self, value))
