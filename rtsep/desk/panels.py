"""What the desk shows beside the faders: latency, steps, misses."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from textual.content import Content
from textual.widget import Widget

from rtsep.desk.meter import cells
from rtsep.desk.misses import MissLog
from rtsep.desk.steps import column_of, columns, heights, span

_UP = " ▁▂▃▄▅▆▇█"


class Latency(Widget):
    """The latency table: part, samples, ms."""

    def __init__(self, **names):
        super().__init__(**names)
        self.border_title = " latency · samples, ms "
        self._facts: Mapping = {}

    def show(self, facts: Mapping) -> None:
        self._facts = facts
        self.refresh()

    def render(self) -> Content:
        told = (self._facts["device"] or {}).get("latency_told", True)
        rows = []
        for name, samples in self._facts["latency"].items():
            number = f"{samples:.2f}".removesuffix(".00")
            ms = f"{1000 * samples / self._facts['rate']:.2f}"
            if name.startswith("device") and not told:
                number, ms = "not told", ""
            space = max(1, self.size.width - 12 - 10)
            row = f"{name.replace('_', ' '):12s}{number:>{space}s}{ms:>10s}"
            rows.append(Content.styled(row, "bold" if name in ("internal", "total") else ""))
        return Content("\n").join(rows)


class Steps(Widget):
    """The histogram of step times, the budget marked, and the quantiles."""

    def __init__(self, **names):
        super().__init__(**names)
        self._counts, self._budget = np.zeros(1, np.int64), 1.0
        self._times: Mapping[str, float] = {}

    def show(self, counts: np.ndarray, times: Mapping[str, float], budget: float) -> None:
        """`counts` as the block's histogram, times and budget in ms."""
        self._counts, self._times, self._budget = counts, times, budget
        self.border_title = f" steps · budget {budget:.2f} ms "
        self.refresh()

    def render(self) -> Content:
        width, height = self.size.width, max(1, self.size.height - 2)
        low, high = span(self._counts, self._budget)
        bars = heights(columns(self._counts, low, high, width))
        limit = column_of(self._budget, low, high, width)
        bars = [cells(bar, height, _UP) for bar in bars]
        rows = []
        for y in reversed(range(height)):
            parts = []
            for k, bar in enumerate(bars):
                if k == limit and bar[y] == " ":
                    parts.append(Content.styled("╎", "bold"))
                else:
                    parts.append(Content.styled(bar[y], "ansi_cyan" if k < limit else "ansi_red"))
            rows.append(Content("").join(parts))
        rows.append(self._axis(low, limit, width))
        rows.append(Content("  ".join(f"{k} {ms:.2f}" for k, ms in self._shown())))
        return Content("\n").join(rows)

    def _axis(self, low: float, limit: int, width: int) -> Content:
        line = ["─"] * width
        line[limit] = "┴"
        axis = "".join(line)
        label = f"{low:.2g} ms "
        return Content.styled(label + axis[len(label) :], "dim")

    def _shown(self):
        names = {"p50": "p50", "p99": "p99", "p999": "p99.9", "max": "max"}
        return [(names[k], ms) for k, ms in self._times.items() if k != "p999" or self._wide]

    @property
    def _wide(self) -> bool:
        return self.size.width >= 42


class Misses(Widget):
    """The last misses, with time and cause."""

    def __init__(self, **names):
        super().__init__(**names)
        self._log: MissLog | None = None

    def show(self, log: MissLog) -> None:
        self._log = log
        self.border_title = f" misses · {log.total} "
        self.set_class(log.total > 0, "some")
        self.refresh()

    def render(self) -> Content:
        if self._log is None or not self._log.total:
            return Content.styled("none", "dim")
        rows = []
        for miss in self._log.entries[: self.size.height]:
            rows.append(
                Content.styled(f"{clock(miss.first, tenths=True):>9s}  ", "dim")
                + Content(f"{miss.cause} ")
                + Content.styled(f"×{miss.count}", "bold")
            )
        if self._log.before and len(rows) < self.size.height:
            rows.append(Content.styled(f"{self._log.before} before the desk came", "dim"))
        return Content("\n").join(rows)


def clock(seconds: float, tenths: bool = False) -> str:
    """As 1:02:03, 2:03 or 2:03.4."""
    minutes, rest = divmod(int(seconds * 10), 600)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    text = f"{text}:{rest // 10:02d}"
    return f"{text}.{rest % 10}" if tenths else text
