"""MIDI messages that can be meant for a control; everything else is nothing to us."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_NOTE_OFF, _NOTE_ON, _CC, _PROGRAM, _BEND = 0x8, 0x9, 0xB, 0xC, 0xE
_LENGTHS = {_NOTE_OFF: 3, _NOTE_ON: 3, _CC: 3, _PROGRAM: 2, _BEND: 3}
FINE = 32  # controllers 0 to 31 have their seven low bits in these, 32 further


@dataclass(frozen=True)
class Message:
    """`kind`: "cc", "note", "program" or "bend"; `channel` from 1; `number` of the controller, note
    or program (a bend has 0). `value`: 0 to 127, of a bend to 16383; a note let go has 0."""

    kind: str
    channel: int
    number: int
    value: int

    def __str__(self) -> str:
        if self.kind == "bend":
            return f"channel {self.channel:2d}  bend         {self.value:5d}"
        return f"channel {self.channel:2d}  {self.kind:7s} {self.number:3d}  {self.value:5d}"


def decode(data: Sequence[int]) -> Message | None:
    """The message that these bytes are; None where they are none of ours, or damaged."""
    if not data or not 0x80 <= data[0] < 0xF0:
        return None
    kind, channel = data[0] >> 4, (data[0] & 15) + 1
    if _LENGTHS.get(kind) != len(data) or any(not 0 <= byte < 128 for byte in data[1:]):
        return None
    if kind == _CC:
        return Message("cc", channel, data[1], data[2])
    if kind == _PROGRAM:
        return Message("program", channel, data[1], 127)
    if kind == _BEND:
        return Message("bend", channel, 0, data[1] | data[2] << 7)
    return Message("note", channel, data[1], data[2] if kind == _NOTE_ON else 0)


def encode(kind: str, channel: int, number: int, place: float) -> list[list[int]]:
    """The messages that put a control of this kind ("cc14" too) at `place`, 0 to 1."""
    if kind == "cc":
        return [[_CC << 4 | channel - 1, number, round(place * 127)]]
    if kind == "note":
        return [[_NOTE_ON << 4 | channel - 1, number, round(place * 127)]]
    value = round(place * 16383)
    if kind == "bend":
        return [[_BEND << 4 | channel - 1, value & 127, value >> 7]]
    status = _CC << 4 | channel - 1
    return [[status, number, value >> 7], [status, number + FINE, value & 127]]
