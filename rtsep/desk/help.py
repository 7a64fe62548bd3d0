"""The desk's keys, on a page of their own."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

KEYS = (
    ("← →  tab  1…9", "choose a fader"),
    ("↑ ↓  + -  wheel", "1 dB up or down (dry/wet: 5 %)"),
    ("page up, page down", "6 dB (30 %)"),
    ("0  double click", "0 dB (all wet)"),
    ("m, s", "mute, solo; solos add up, mute wins"),
    ("M, S", "all mutes, all solos off"),
    ("b", "bypass: the mixture as it was"),
    ("r", "record; again: end the take"),
    ("p", "a preset's controls"),
    ("c", "change the model, without a click"),
    ("x", "close the desk; the run goes on"),
    ("q q  ctrl+c", "end the run"),
)


class Help(ModalScreen):
    """Any key, or a click, closes it."""

    def compose(self) -> ComposeResult:
        rows = [Content.styled("keys and mouse", "bold"), Content("")]
        for keys, what in KEYS:
            rows.append(Content.styled(f"{keys:20s}", "bold ansi_cyan") + Content(what))
        rows += [
            Content(""),
            Content("meters: each stem's level over 0.1 s, before its fader;"),
            Content("input and output: peaks. Drag a fader, click M and S."),
        ]
        page = Static(Content("\n").join(rows), id="page")
        page.border_title = "help"
        yield page

    def on_key(self, event) -> None:
        event.stop()
        self.dismiss()

    def on_click(self) -> None:
        self.dismiss()
