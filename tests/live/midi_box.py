"""A box of faders and lights, as a program on JACK's MIDI; and a map of what is on it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import rtmidi
from live_desk import STEMS

from rtsep.errors import WrongCall
from rtsep.live.devices import quiet
from rtsep.live.midi.map import Binding, Map
from rtsep.live.scene import Scene

MAP = Map(
    STEMS,
    (
        Binding("cc", 1, 7, "gain", "drums"),
        Binding("cc14", 1, 8, "gain", "bass"),
        Binding("bend", 3, 0, "gain", "vocals"),
        Binding("cc", 1, 9, "wet"),
        Binding("note", 2, 60, "mute", "drums"),
        Binding("note", 2, 61, "solo", "bass", mode="momentary"),
        Binding("cc", 2, 20, "bypass"),
        Binding("program", 1, 5, "preset", preset="soft"),
    ),
)
JUMP = replace(MAP, soft=False)


def preset(name):
    if name != "soft":
        raise WrongCall(f"no preset {name!r}")
    return Scene({"bass": 0.5}, wet=0.25)


class Box:
    """What a device is to other programs: an output "NAME:faders", an input "NAME-01:lights"."""

    def __init__(self, name):
        with quiet():
            self._out = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name=name)
            self._in = rtmidi.MidiIn(rtmidi.API_UNIX_JACK, name=name)
        self._clients = [self._out, self._in]
        self.lit = []
        self._in.set_callback(lambda event, data: self.lit.append(event[0]))
        self._out.open_virtual_port("faders")
        self._in.open_virtual_port("lights")

    def send(self, *messages):
        for message in messages:
            self._out.send_message(message)

    def close(self):
        with quiet():
            for client in self._clients:
                client.close_port()
                client.delete()
        self._clients = []


@contextmanager
def box(name="box"):
    made = Box(name)
    try:
        yield made
    finally:
        made.close()
