"""A run's controls over OSC (UDP): every message is applied whole, or answered with an error.

    /rtsep/gain/STEM dB          -inf to 40       /rtsep/mute/STEM 0|1    /rtsep/solo/STEM 0|1
    /rtsep/wet share             0 to 1           /rtsep/bypass 0|1       /rtsep/input-gain dB
    /rtsep/preset name           the controls of a preset
    /rtsep/model name            another model, or a checkpoint; answered once it is heard
    /rtsep/subscribe what [s]    "meters" or "misses", to the sender, for 60 s or as many as are
    /rtsep/unsubscribe what      given; at most an hour

Without an argument the controls, and the model, are asked for: the same address comes back with the
value. Meters come ten times a second, as /rtsep/meter/input, …/output, …/STEM in dBFS; misses when
there are new ones, as /rtsep/misses COUNT and /rtsep/miss CAUSE COUNT. An error is /rtsep/error
ADDRESS TEXT.
"""

from __future__ import annotations

import logging
import math
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from rtsep.audio.levels import MOST_DB, from_db, to_db
from rtsep.errors import Failure, WrongCall
from rtsep.live.controls import Controls
from rtsep.live.scene import Scene
from rtsep.live.status import Status

_EVERY = 0.1  # s between meters
_LASTS, _LONGEST = 60.0, 3600.0  # s of a subscription
_SUBSCRIBERS = 64
_LARGEST = 65535
_ERROR = "/rtsep/error"
_MANY, _OF_STEMS = ("wet", "bypass", "input-gain"), ("gain", "mute", "solo")


def bind(text: str) -> socket.socket:
    """The socket of [HOST:]PORT; without a host nobody but this machine gets through.

    Raises `WrongCall` for what is no such address, `Failure` for one that can't be had.
    """
    try:
        import pythonosc  # noqa: F401
    except ImportError:
        raise Failure("OSC needs python-osc: pip install 'rtsep[live]'") from None
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise WrongCall(f"--osc {text}: [HOST:]PORT, as 9000 or 0.0.0.0:9000")
    host = host.strip("[]") or "127.0.0.1"
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM)[0]
    except (OSError, UnicodeError):
        raise WrongCall(f"--osc {text}: there is no host {host!r}") from None
    made = socket.socket(family, kind)
    try:
        made.bind(address)
    except OSError as error:
        made.close()
        raise Failure(f"--osc {text}: {error.strerror.lower()}: choose another") from None
    return made


@dataclass
class _Subscriber:
    """Until when each thing is wanted, and the misses that were told."""

    until: dict[str, float] = field(default_factory=dict)
    told: dict[str, int] | None = None


class OscServer:
    """Answers on a bound socket, in a thread of its own, from `start` (or `with`) to `close`.

    `preset(name)` gives a preset's scene; `swap(name)` changes the model (see `Session.swap`).
    """

    def __init__(
        self,
        bound: socket.socket,
        controls: Controls,
        status: Status,
        preset: Callable[[str], Scene],
        swap: Callable[[str], Future],
    ):
        self._socket, self._controls, self._status = bound, controls, status
        self._preset, self._swap = preset, swap
        self._subscribers: dict[tuple, _Subscriber] = {}
        self._complaints = _Complaints()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="rtsep-osc", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        return self._socket.getsockname()[:2]

    def start(self) -> None:
        logging.getLogger().addFilter(self._complaints)
        self._thread.start()

    def close(self) -> None:
        """May be called again."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._socket.close()
        logging.getLogger().removeFilter(self._complaints)

    def __enter__(self) -> OscServer:
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _serve(self) -> None:
        self._socket.settimeout(_EVERY)
        due = time.monotonic()
        while not self._over.is_set():
            try:
                self._packet(*self._socket.recvfrom(_LARGEST))
            except TimeoutError:
                pass
            except OSError:
                pass  # somebody we answered is not there: no reason to end
            if self._subscribers and time.monotonic() >= due:
                due = time.monotonic() + _EVERY
                self._publish()

    def _packet(self, data: bytes, sender: tuple) -> None:
        from pythonosc.osc_packet import OscPacket

        self._complaints.heard.clear()
        try:
            messages = OscPacket(data).messages
            late = max(m.time for m in messages) - time.time() if messages else 0
            if not messages or self._complaints.heard:
                raise ValueError(*self._complaints.heard[:1] or ["an empty bundle"])
            if any(_cut_off(message) for _, message in messages):
                raise ValueError("a message that is cut off")
        except Exception as error:  # of a parser that was given anything at all
            self._send(sender, _ERROR, "", f"no OSC: {error}"[:200])
            return
        for _, message in messages:
            if message.address == _ERROR:
                continue  # two servers would go on answering each other
            try:
                if late > 0.05:
                    raise WrongCall("a bundle for later: send it when it is due")
                self._handle(message.address, message.params, sender)
            except Failure as wrong:
                self._send(sender, _ERROR, message.address, str(wrong))

    def _handle(self, address: str, values: list, sender: tuple) -> None:
        c, parts = self._controls, address.split("/")
        if parts[:2] == ["", "rtsep"] and len(parts) == 4 and parts[2] in _OF_STEMS:
            table = {"gain": c.gains, "mute": c.mutes, "solo": c.solos}[parts[2]]
            stem = parts[3]
            table[stem]  # raises where there is no such stem
            write = _gain if parts[2] == "gain" else _switch
            if values:
                table[stem] = write(_one(values))
            else:
                value = table[stem]
                self._send(sender, address, to_db(value) if parts[2] == "gain" else int(value))
        elif address in ("/rtsep/wet", "/rtsep/bypass", "/rtsep/input-gain"):
            name = parts[2].replace("-", "_")
            write = {"wet": _number, "bypass": _switch, "input_gain": _gain}[name]
            if values:
                setattr(c, name, write(_one(values)))
            else:
                read = {"wet": float, "bypass": int, "input_gain": to_db}[name]
                self._send(sender, address, read(getattr(c, name)))
        elif address == "/rtsep/preset":
            c.recall(self._preset(_text(_one(values))))
        elif address == "/rtsep/model":
            if values:
                changing = self._swap(_text(_one(values)))
                changing.add_done_callback(lambda done: self._changed(done, sender))
            else:
                self._send(sender, address, c.facts["model"])
        elif address == "/rtsep/subscribe":
            self._subscribe(values, sender)
        elif address == "/rtsep/unsubscribe":
            what = _topic(_one(values))
            if sender in self._subscribers:
                self._subscribers[sender].until.pop(what, None)
        else:
            raise WrongCall(f"no such address; there are {', '.join(self._addresses())}")

    def _changed(self, done: Future, sender: tuple) -> None:
        if done.cancelled():
            self._send(sender, _ERROR, "/rtsep/model", "the run is over")
        elif (error := done.exception()) is not None:
            self._send(sender, _ERROR, "/rtsep/model", str(error))
        else:
            self._send(sender, "/rtsep/model", self._controls.facts["model"])

    def _addresses(self) -> list[str]:
        named = [f"{kind}/{stem}" for kind in _OF_STEMS for stem in self._controls.stems]
        rest = (*_MANY, "preset", "model", "subscribe", "unsubscribe")
        return [f"/rtsep/{name}" for name in (*named, *rest)]

    def _subscribe(self, values: list, sender: tuple) -> None:
        what = _topic(_one(values[:1]))
        seconds = _number(_one(values[1:])) if len(values) > 1 else _LASTS
        if not 0 < seconds <= _LONGEST:
            raise WrongCall(f"for {seconds:g} s: more than 0, at most {_LONGEST:g}")
        if sender not in self._subscribers and len(self._subscribers) >= _SUBSCRIBERS:
            raise WrongCall(f"there are {_SUBSCRIBERS} subscribers already")
        subscriber = self._subscribers.setdefault(sender, _Subscriber())
        subscriber.until[what] = time.monotonic() + seconds
        if what == "misses":
            subscriber.told = None

    def _publish(self) -> None:
        now, misses = time.monotonic(), self._status.misses()
        levels = zip(
            ("input", "output", *self._controls.stems),
            (*self._status.peaks(), *self._status.levels()),
            strict=False,
        )
        meters = [(f"/rtsep/meter/{name}", level) for name, level in levels]
        for sender, subscriber in list(self._subscribers.items()):
            wanted = {what for what, until in subscriber.until.items() if until > now}
            if not wanted:
                del self._subscribers[sender]
                continue
            if "meters" in wanted:
                for address, level in meters:
                    self._send(sender, address, level)
            if "misses" in wanted and misses != subscriber.told:
                before, subscriber.told = subscriber.told or {}, misses
                self._send(sender, "/rtsep/misses", sum(misses.values()))
                for cause, count in misses.items():
                    if count != before.get(cause):
                        self._send(sender, "/rtsep/miss", cause, count)

    def _send(self, to: tuple, address: str, *values: float | int | str) -> None:
        from pythonosc.osc_message_builder import OscMessageBuilder

        builder = OscMessageBuilder(address)
        for value in values:
            builder.add_arg(value)
        try:
            self._socket.sendto(builder.build().dgram, to)
        except OSError:
            pass  # it is not there any more


def _one(values: list):
    if len(values) != 1:
        raise WrongCall(f"{len(values)} arguments; it takes one")
    return values[0]


def _number(value) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise WrongCall(f"{value!r}: a number is expected")
    return float(value)


def _gain(value) -> float:
    db = _number(value)
    if db > MOST_DB:
        raise WrongCall(f"{db:g} dB: at most {MOST_DB:g}")
    return from_db(db)


def _switch(value) -> bool:
    if value not in (0, 1) or isinstance(value, str):
        raise WrongCall(f"{value!r}: 0 or 1 is expected")
    return bool(value)


def _text(value) -> str:
    if not isinstance(value, str):
        raise WrongCall(f"{value!r}: a text is expected")
    return value


def _topic(value) -> str:
    if value not in ("meters", "misses"):
        raise WrongCall(f"{value!r}: meters or misses")
    return value


def _cut_off(message) -> bool:
    """python-osc takes a float that is not there for 0."""
    from pythonosc.osc_message_builder import OscMessageBuilder

    builder = OscMessageBuilder(message.address)
    for value in message.params:
        builder.add_arg(value)
    return len(message.dgram) < len(builder.build().dgram)


class _Complaints(logging.Filter):
    """python-osc tells the root logger what it leaves out: the sender is to be told instead."""

    def __init__(self):
        super().__init__()
        self.heard: list[str] = []

    def filter(self, record: logging.LogRecord) -> bool:
        if record.module not in ("osc_message", "osc_bundle"):
            return True
        self.heard.append(record.getMessage())
        return False
