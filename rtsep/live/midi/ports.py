"""MIDI devices: which there are, and one that is kept connected.

python-rtmidi is imported when it is needed and not before. A device is named by its input port, or
a part of that; its output, for feedback, is the port of the same name, or of the same program.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rtsep.errors import Failure, WrongCall
from rtsep.live.devices import quiet

NAME = "rtsep"  # what other programs see
_POLL = 0.002  # s between looks for JACK's messages
_QUEUE = 8192  # messages that wait until then


@dataclass(frozen=True)
class Port:
    """As an API lists it. `name` has no number in it that changes when it is plugged in again."""

    name: str
    index: int
    api: int
    api_name: str

    def __str__(self) -> str:
        return f"{self.name!r} ({self.api_name})"


def library():
    """The module `rtmidi`. Raises `Failure` where it is missing."""
    try:
        import rtmidi
    except ImportError:
        raise Failure("MIDI needs python-rtmidi: pip install 'rtsep[live]'") from None
    return rtmidi


def ports(output: bool = False) -> list[Port]:
    """The inputs (or outputs) of all devices and programs, of every API that is there."""
    rtmidi = library()
    found = []
    for api in rtmidi.get_compiled_api():
        client = _client(api, output)
        if client is not None:
            found += _listed(client, api)
            client.delete()
    return [port for port in found if not port.name.startswith(f"{NAME}:")]


def choose(text: str | None, among: Sequence[Port]) -> Port:
    """The port with this name, or this part of one that only it has; None: the only one.

    Raises `WrongCall` that lists what matches, or what there is.
    """
    if text is None:
        # ALSA's "through" is nobody's.
        matches = [port for port in among if "midi through" not in port.name.casefold()]
    else:
        named = text.casefold()
        matches = [port for port in among if port.name.casefold() == named]
        matches = matches or [port for port in among if named in port.name.casefold()]
    if len(matches) == 1:
        return matches[0]
    option = "--midi" if text is None else f"--midi {text}"
    there = ", ".join(map(str, matches or among))
    if not among:
        raise WrongCall(f"{option}: there is no MIDI port")
    if not matches:
        raise WrongCall(f"{option}: no such port; there is {there}")
    raise WrongCall(f"{option}: which of {there}?")


class Connection:
    """One device: `received` gets the bytes of every message, in another thread; `send` answers.

    `look` has to be called now and then: it takes up the device when it is there, lets go of it
    when it is gone, and tells which of these has happened.
    """

    def __init__(self, port: Port, received: Callable[[Sequence[int]], None]):
        self._rtmidi = library()
        self._port, self._received = port, received
        self._in = self._out = None
        self._over = threading.Event()
        self._poll: threading.Thread | None = None

    @property
    def there(self) -> bool:
        return self._in is not None

    def look(self) -> str:
        """What happened: "there", "gone", or nothing, ""."""
        if self._in is not None:
            if any(p.name == self._port.name for p in _listed(self._in, self._port.api)):
                return ""
            self.close()
            return "gone"
        return "there" if self._open() else ""

    def send(self, data: Sequence[int]) -> None:
        """To the device, if it is there and listens."""
        if self._out is not None:
            try:
                self._out.send_message(data)
            except (self._rtmidi.RtMidiError, SystemError, ValueError):
                pass  # it is gone: `look` will notice

    def close(self) -> None:
        """Lets go of it; `look` takes it up again."""
        if self._poll is not None:
            self._over.set()
            self._poll.join()
            self._poll = None
        for client in (self._in, self._out):
            if client is not None:
                with quiet():
                    client.close_port()
                    client.delete()
        self._in = self._out = None

    def _open(self) -> bool:
        client = _client(self._port.api, output=False)
        if client is None:
            return False
        for port in _listed(client, self._port.api):
            if port.name == self._port.name and _opened(client, port, "controls"):
                self._listen(client)
                self._in, self._out = client, self._feedback()
                return True
        client.delete()
        return False

    def _listen(self, client) -> None:
        if self._port.api != self._rtmidi.API_UNIX_JACK:
            client.set_callback(lambda event, data: self._received(event[0]))
            return
        # JACK's would come in the thread of its process cycle: Python there makes sound wait.
        self._over = threading.Event()
        self._poll = threading.Thread(target=self._ask, args=(client, self._over), daemon=True)
        self._poll.start()

    def _ask(self, client, over: threading.Event) -> None:
        while not over.is_set():
            if (event := client.get_message()) is not None:
                self._received(event[0])
            else:
                over.wait(_POLL)

    def _feedback(self):
        client = _client(self._port.api, output=True)
        if client is None:
            return None
        among = _listed(client, self._port.api)
        same = [port for port in among if port.name == self._port.name]
        beside = [port for port in among if _program(port.name) == _program(self._port.name)]
        if len(beside) > 1:
            beside = [port for port in beside if _digits(port.name) == _digits(self._port.name)]
        for port in same or beside[:1]:
            if _opened(client, port, "feedback"):
                return client
        client.delete()
        return None


def _client(api: int, output: bool):
    """An open client of this API; None where it isn't there."""
    rtmidi = library()
    with quiet():
        try:
            if output:
                return rtmidi.MidiOut(api, name=NAME)
            return rtmidi.MidiIn(api, name=NAME, queue_size_limit=_QUEUE)
        except (rtmidi.RtMidiError, SystemError):
            return None


def _opened(client, port: Port, own_name: str) -> bool:
    """Whether that is possible: another program may hold it, or it has just gone."""
    rtmidi = library()
    try:
        client.open_port(port.index, own_name)
    except (rtmidi.RtMidiError, SystemError, ValueError):
        return False
    return True


def _listed(client, api: int) -> list[Port]:
    rtmidi = library()
    name = rtmidi.get_api_display_name(api)
    try:
        return [Port(_stable(n), k, api, name) for k, n in enumerate(client.get_ports())]
    except (rtmidi.RtMidiError, SystemError):
        return []


def _stable(name: str) -> str:
    """Without ALSA's numbers of client and port, or Windows's index."""
    return re.sub(r"\s+\d+(:\d+)?$", "", name)


def _program(name: str) -> str:
    """What is before the colon; JACK numbers the clients of a program that has several."""
    return re.sub(r"-\d\d$", "", name.partition(":")[0])


def _digits(name: str) -> str:
    return "".join(re.findall(r"\d+$", name))
