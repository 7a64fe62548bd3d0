"""A list to choose one thing from, or to name another."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList


class Choice(ModalScreen[str | None]):
    """Dismissed with the name that was chosen, None where none was (escape).

    `other`: what else can be named, in words; "" for nothing.
    """

    BINDINGS = [
        Binding("escape", "dismiss(None)"),
        # Of the list, also while something is typed.
        Binding("up", "along(-1)", priority=True),
        Binding("down", "along(1)", priority=True),
    ]

    def __init__(self, title: str, names: Sequence[str], other: str = ""):
        super().__init__()
        self._title, self._offered, self._other = title, names, other

    def compose(self) -> ComposeResult:
        self._list = OptionList(*self._offered, markup=False)
        with Vertical(id="choice") as box:
            box.border_title = self._title
            box.border_subtitle = "enter: take it, escape: leave"
            yield self._list
            if self._other:
                yield Input(placeholder=self._other, compact=True)

    def on_mount(self) -> None:
        self._list.highlighted = 0
        if self._other:
            self.query_one(Input).focus()

    def action_along(self, steps: int) -> None:
        self._list.highlighted = (self._list.highlighted + steps) % len(self._offered)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._offered[event.option_index])

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """What was typed, or what the list stands at."""
        self.dismiss(event.value.strip() or self._offered[self._list.highlighted])
