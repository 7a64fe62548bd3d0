"""Levels as bars: upright beside a fader, or lying, in green, yellow and red."""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

BOTTOM, TOP = -60.0, 0.0  # dBFS
_ZONES = ((-6.0, "ansi_red"), (-18.0, "ansi_yellow"), (BOTTOM, "ansi_green"))
_UP, _ALONG = " ▁▂▃▄▅▆▇█", " ▏▎▍▌▋▊▉█"


def part(db: float) -> float:
    """How much of a bar a level fills, from 0 to 1."""
    return min(1.0, max(0.0, (db - BOTTOM) / (TOP - BOTTOM)))


def zone(place: float) -> str:
    """The colour of a bar at a place from 0 to 1."""
    db = BOTTOM + place * (TOP - BOTTOM)
    return next(colour for least, colour in _ZONES if db >= least)


def cells(filled: float, n: int, glyphs: str) -> list[str]:
    """A bar over n cells, from its beginning, in eighths."""
    eighths = round(filled * n * 8)
    return [glyphs[min(8, max(0, eighths - 8 * k))] for k in range(n)]


def upright(db: float, height: int) -> list[tuple[str, str]]:
    """(glyph, colour) of each row, the top one first."""
    bar = cells(part(db), height, _UP)
    return [(bar[k], zone(k / height)) for k in reversed(range(height))]


class Meter(Widget):
    """A lying bar with its name and number: a peak in dBFS, and how often it clipped."""

    level = reactive(-120.0)
    clips = reactive(0)

    def __init__(self, label: str, **names):
        super().__init__(**names)
        self._label = label

    def render(self) -> Content:
        clipped = " CLIP" if self.clips else "     "
        number = f"{self.level:6.1f} dB" if self.level > -119 else "  -inf dB"
        width = max(1, self.size.width - len(self._label) - len(number) - len(clipped) - 2)
        bar = cells(part(self.level), width, _ALONG)
        parts = [Content.styled(f"{self._label} ", "bold")]
        for k, glyph in enumerate(bar):
            empty = glyph == " "
            parts.append(Content.styled("·" if empty else glyph, _bar_style(k / width, empty)))
        parts.append(Content(f" {number}"))
        parts.append(Content.styled(clipped, "bold ansi_red"))
        return Content("").join(parts)


def _bar_style(place: float, empty: bool) -> str:
    return "dim" if empty else zone(place)
