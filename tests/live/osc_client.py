"""A program that speaks OSC to a run."""

from __future__ import annotations

import socket

from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder


def message(address, *values):
    builder = OscMessageBuilder(address)
    for value in values:
        builder.add_arg(value)
    return builder.build()


class Client:
    """A program that sends, and hears what it is answered."""

    def __init__(self, address, patience=20):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(address)
        self._socket.settimeout(patience)

    def send(self, address, *values):
        self.throw(message(address, *values).dgram)

    def throw(self, data):
        self._socket.send(data)

    def heard(self):
        got = OscMessage(self._socket.recv(65535))
        return (got.address, *got.params)

    def ask(self, address, *values):
        self.send(address, *values)
        return self.heard()

    def until(self, wanted):
        while (got := self.heard())[0] != wanted:
            pass
        return got
