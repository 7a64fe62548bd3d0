"""One line of what was found."""

from __future__ import annotations

from dataclasses import dataclass, field

GOOD, ADVICE, BROKEN = "good", "advice", "broken"


@dataclass(frozen=True)
class Finding:
    """`state`: good; advice, where something could be better; broken, where no run is possible.

    `text` says what is there, `advice` what to do about it (None where it is good); `facts` are
    the same in numbers, for scripts.
    """

    part: str
    state: str
    text: str
    advice: str | None = None
    facts: dict = field(default_factory=dict)

    def as_json(self) -> dict:
        return {
            "part": self.part,
            "state": self.state,
            "text": self.text,
            "advice": self.advice,
            **self.facts,
        }
