"""What the run is, what is recorded, and how long it has gone on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from rtsep.desk.panels import clock


class Heading(Vertical):
    """Two lines."""

    def __init__(self):
        super().__init__()
        self._what, self._time, self._ends = Static(id="what"), Static(id="time"), Static(id="ends")
        self._ticked: tuple = ()

    def compose(self) -> ComposeResult:
        yield Horizontal(self._what, self._time, id="head")
        yield self._ends

    def show(self, facts: Mapping, hello: Mapping) -> None:
        """`facts`: the description; `hello`: as a `Hello`, empty as long as there is none."""
        what = Content.styled("rtsep ", "bold ansi_cyan") + Content.styled(facts["model"], "bold")
        weights = ", random weights" if hello.get("untrained") else ""
        self._what.update(what + f" on {facts['engine']}{weights}, {facts['model_rate']} Hz")
        device, width = facts["device"], facts["channels"]
        driven = f"{hello.get('clock', '')} simulated clock".strip()
        parts = [
            f"{facts['rate']} Hz, {width} channel{'s' if width > 1 else ''}",
            driven if device is None else device["host_api"],
        ]
        if hello:
            parts = [f"{hello['source']} → {hello['sink']}", *parts, hello["granted"]]
        self._ends.update(Content(" · ".join(parts)))

    def tick(self, now: str, taking: str | None, seconds: float) -> None:
        """`taking`: where is recorded to, for so many `seconds` so far."""
        ticked = (now, taking, int(seconds))
        if ticked == self._ticked:
            return
        self._ticked = ticked
        text = Content(now)
        if taking is not None:
            taken = f"● {Path(taking).name} {clock(seconds)}   "
            text = Content.styled(taken, "bold ansi_red") + text
        self._time.update(text)
