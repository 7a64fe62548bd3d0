"""A list to choose one thing from."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.screen import ModalScreen
from textual.widgets import OptionList


class Choice(ModalScreen[str | None]):
    """Dismissed with the name that was chosen, None where none was (escape)."""

    BINDINGS = [("escape", "dismiss(None)", "leave")]

    def __init__(self, title: str, names: Sequence[str]):
        super().__init__()
        self._title, self._names = title, names

    def compose(self) -> ComposeResult:
        names = OptionList(*self._names, markup=False)
        names.border_title = self._title
        names.border_subtitle = "enter: take it, escape: leave"
        yield names

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._names[event.option_index])
