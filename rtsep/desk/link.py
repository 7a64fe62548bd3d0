"""What run and desk say to each other: one JSON object a line, over a socket that both inherit.

From the run:

    {"hello": {...}}            once: what the block does not tell (see `Hello`)
    {"notice": TEXT}            what happened, as a run without a desk prints it
    {"taking": FOLDER, "seconds": S}   the recording that goes on; FOLDER null: none does
    {"done": TEXT}              the last request was carried out
    {"refused": TEXT}           ... or was not, and why

From the desk:

    {"alive": true}             every second: see `process.py`
    {"record": true or false}   begin or end a take
    {"model": NAME or FILE}     change to this model; a notice tells when it is heard, or why not
    {"end": true}               end the run

The socket's end is the other's end: the desk leaves the terminal as it was, or the run goes on
without it. Whatever is no such line is left unanswered.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Hello:
    """`source` and `sink`: what is played and where it goes; `clock`: paced or free; `granted`:
    what real-time set-up the worker got; `untrained`: its weights are random."""

    source: str
    sink: str
    clock: str
    granted: str
    untrained: bool


class Lines:
    """Bytes as they come, cut into messages."""

    def __init__(self):
        self._rest = b""

    def feed(self, data: bytes) -> list[dict]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [message for line in lines if (message := _read(line)) is not None]


def line(**message) -> bytes:
    """A message as it is sent."""
    message = {k: asdict(v) if isinstance(v, Hello) else v for k, v in message.items()}
    return json.dumps(message).encode() + b"\n"


def _read(line: bytes) -> dict | None:
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
