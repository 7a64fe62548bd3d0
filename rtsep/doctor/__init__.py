"""What this machine has for live sound, and what to do about what it lacks.

    for finding in doctor.examine():
        print(finding.state, finding.part, finding.text, finding.advice or "")

Loads neither torch nor an engine.
"""

from __future__ import annotations

from rtsep.doctor import computing, midi, sound, system
from rtsep.doctor.finding import ADVICE, BROKEN, GOOD, Finding

__all__ = ["ADVICE", "BROKEN", "GOOD", "Finding", "examine"]


def examine() -> list[Finding]:
    """All findings, in the order in which they are read best."""
    return [
        *sound.findings(),
        *midi.findings(),
        *system.findings(),
        *computing.findings(),
    ]
