"""What missed, when and why: the run counts by cause, the desk keeps the times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_TOGETHER = 1.0  # s: misses of one cause that follow this soon are one entry
_KEPT = 200


@dataclass
class Miss:
    """`count` blocks from `first` to `last`, in seconds of the run."""

    first: float
    last: float
    cause: str
    count: int


class MissLog:
    """Entries, the newest first. What was missed before the desk came has no time: `before`."""

    def __init__(self, counts: Mapping[str, int]):
        self.entries: list[Miss] = []
        self.before = sum(counts.values())
        self._counts = dict(counts)

    @property
    def total(self) -> int:
        return sum(self._counts.values())

    def update(self, counts: Mapping[str, int], seconds: float) -> None:
        """The counts by cause as they are now; `seconds`: when the last miss was."""
        for cause, count in counts.items():
            new = count - self._counts.get(cause, 0)
            if new <= 0:
                continue
            last = self.entries[0] if self.entries else None
            if last is not None and last.cause == cause and seconds - last.last <= _TOGETHER:
                last.last, last.count = seconds, last.count + new
            else:
                self.entries.insert(0, Miss(seconds, seconds, cause, new))
        self._counts = dict(counts)
        del self.entries[_KEPT:]
