"""What a user should be told while a run goes on, each once."""

from __future__ import annotations

import sys

from rtsep.live import layout
from rtsep.live.ring import written

SILENT = 5.0  # s of zeros from a device: nobody can be that quiet
CLIPPED = 10  # samples at full scale, before a word is said about it
_PERMISSION = {
    "darwin": "System Settings, Privacy & Security, Microphone",
    "win32": "Settings, Privacy & security, Microphone",
}


class Notices:
    """`new()` gives what happened since it was last called, a line each."""

    def __init__(self, session):
        self._session = session
        self._told: set[str] = set()

    def new(self) -> list[str]:
        """Nothing new: an empty list."""
        fresh = [(kind, text) for kind, text in self._now() if kind not in self._told]
        self._told.update(kind for kind, _ in fresh)
        return [text for _, text in fresh]

    def _now(self):
        session = self._session
        h = session.block.i64
        for k, (_, text) in enumerate(session.workers.events):
            yield f"event {k}", text
        if session.clock.ended:
            yield "device", session.clock.ended
        if session.device is not None:
            for k, text in enumerate(session.device.events):
                yield f"device {k}", text
        for error in session.takes.errors:
            yield error, f"{error}; the run goes on"
        if session.takes.lost:
            yield "lost", "the disk is too slow for the recording: some of it is lost, and silent"
        if self._microphone() and h[layout.CLIPPED_IN] >= CLIPPED:
            yield "clips", "the input clips: turn it down at its source (--input-gain comes after)"
        silence = written(h, layout.CAPTURE) - max(h[layout.LAST_SOUND], h[layout.RISE_FROM])
        if self._microphone() and not session.device.away and silence >= SILENT * session.rate:
            yield "silence", self._muted()

    def _microphone(self):
        device = self._session.device
        return device is not None and device.plan.input

    def _muted(self) -> str:
        text = f"nothing but digital silence from {self._microphone()}: is it muted or unplugged"
        if (where := _PERMISSION.get(sys.platform)) is not None:
            return f"{text}, or is this program not allowed to hear it ({where})?"
        return f"{text}, or another input chosen in the system's sound settings?"
