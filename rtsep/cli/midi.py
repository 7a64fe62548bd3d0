"""`rtsep midi`: the ports there are, what comes from one, a map made by moving its controls."""

from __future__ import annotations

import queue
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rtsep.cli.options import Arch, Config

if TYPE_CHECKING:
    from rtsep.live.midi.messages import Message

app = typer.Typer(help="MIDI: ports, what comes in, and maps.", no_args_is_help=True)
PortName = Annotated[
    str | None,
    typer.Argument(help="A port's name, or a part of it. Default: the only one.", metavar="PORT"),
]
_QUIET = 0.5  # s without a message: whoever moved something is done
_MANY = 4  # values of one control that make it a fader


@app.command()
def ports() -> int:
    """MIDI inputs and outputs."""
    from rtsep.live.midi.ports import ports

    inputs, outputs = ports(), ports(output=True)
    for title, there in (("inputs", inputs), ("outputs", outputs)):
        if there:
            print(f"{title}:")
        for port in there:
            print(f"  {port.name}  ({port.api_name})")
    if not inputs and not outputs:
        print("there is no MIDI port: plug a device in, or start the program that has one")
    return 0


@app.command()
def monitor(port: PortName = None) -> int:
    """Print what comes in, until Ctrl-C."""
    from rtsep.live.midi.messages import decode

    with _Listener(port) as listener:
        print(f"listening to {listener.port}; Ctrl-C ends", flush=True)
        while True:
            data = listener.next(None)
            print(decode(data) or f"other: {bytes(data).hex(' ')}", flush=True)


@app.command()
def learn(
    port: PortName = None,
    model: Annotated[
        str | None, typer.Option(help="Whose stems it is for. Default: convtasnet.")
    ] = None,
    arch: Arch = None,
    config: Config = None,
    out: Annotated[
        Path | None,
        typer.Option("--map", help="The file to write. Default: midi.toml of your configuration."),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace the map that is there.")] = False,
) -> int:
    """Write a map by moving one control after the other."""
    from rtsep import untrained
    from rtsep.checkpoints import read_spec
    from rtsep.errors import WrongCall
    from rtsep.live.midi import map as maps
    from rtsep.models import find

    path = out or maps.place()
    if path.exists() and not overwrite:
        raise WrongCall(f"{path} is there already: --overwrite replaces it, --map names another")
    chosen = untrained.choose(model, arch, config, lambda text: None, default="convtasnet")
    stems = read_spec(find(chosen)).stems
    with _Listener(port) as listener:
        print(f"learning from {listener.port}, for {', '.join(stems)}; Enter skips one", flush=True)
        bindings = _learnt(stems, listener)
        device = listener.port.name
    maps.save(path, maps.Map(tuple(stems), tuple(bindings), device))
    print(f"wrote {path}: {len(bindings)} controls")
    return 0


class _Listener:
    """A port's messages, one after the other, and Enter on standard input."""

    def __init__(self, name: str | None):
        self._name = name
        self._undo = ExitStack()
        self._queue: queue.Queue = queue.Queue(10_000)

    def __enter__(self) -> _Listener:
        from rtsep.errors import Failure
        from rtsep.live.midi.ports import Connection, choose, ports

        self.port = choose(self._name, ports())
        connection = Connection(self.port, self._put)
        self._undo.callback(connection.close)
        if not connection.look():
            self._undo.close()
            raise Failure(f"{self.port} can't be opened: another program may hold it")
        return self

    def __exit__(self, *_) -> None:
        self._undo.close()

    def _put(self, data) -> None:
        try:
            self._queue.put_nowait(data)
        except queue.Full:
            pass

    def next(self, seconds: float | None):
        """The next message's bytes; None after so many seconds without."""
        until = None if seconds is None else time.monotonic() + seconds
        while until is None or time.monotonic() < until:
            try:
                return self._queue.get(timeout=0.05 if until is None else until - time.monotonic())
            except (queue.Empty, ValueError):
                pass
        return None


def _learnt(stems, listener: _Listener) -> list:
    from rtsep.live.midi.map import Binding

    wanted = [
        (kind, stem, f"{verb} for {stem}")
        for stem in stems
        for kind, verb in (
            ("gain", "move the fader"),
            ("mute", "press the mute button"),
            ("solo", "press the solo button"),
        )
    ]
    wanted += [("wet", None, "move a fader for wet"), ("bypass", None, "press a button for bypass")]
    bindings: list[Binding] = []
    for does, stem, text in wanted:
        taken = {(b.message, b.channel, b.number) for b in bindings}
        print(f"{text} … ", end="", flush=True)
        heard = _fader if does in ("gain", "wet") else _button
        found = _wait(listener, heard, taken)
        if found is None:
            print("skipped", flush=True)
            continue
        message, channel, number = found
        print(f"{message} {number}, channel {channel}", flush=True)
        bindings.append(Binding(message, channel, number, does, stem))
    return bindings


def _wait(
    listener: _Listener, heard: Callable[[list[Message]], tuple | None], taken: set
) -> tuple[str, int, int] | None:
    """What was moved, once it rests; None for Enter."""
    from rtsep.live.midi.messages import decode

    messages: list[Message] = []
    found = None
    while True:
        data = listener.next(_QUIET if found else 0.1)
        message = decode(data) if data is not None else None
        if message is not None:
            messages.append(message)
            found = heard([m for m in messages if _own(m, taken)])
        elif data is None and found:
            return found
        elif data is None and _entered():
            return None


def _own(message: Message, taken: set) -> bool:
    """Whether no control that was learnt already sends this."""
    from rtsep.live.midi.messages import FINE

    place = (message.channel, message.number)
    fine = ("cc14", message.channel, message.number % FINE)
    return (message.kind, *place) not in taken and not (message.kind == "cc" and fine in taken)


def _fader(messages: list[Message]) -> tuple[str, int, int] | None:
    from rtsep.live.midi.messages import FINE

    values: dict[tuple, set] = {}
    for m in messages:
        if m.kind in ("cc", "bend"):
            values.setdefault((m.kind, m.channel, m.number), set()).add(m.value)
    for (kind, channel, number), seen in values.items():
        coarse = kind == "cc" and number < FINE and ("cc", channel, number + FINE) in values
        fine = kind == "cc" and FINE <= number < 2 * FINE
        if fine and ("cc", channel, number - FINE) in values:
            continue
        if len(seen) >= _MANY:
            return "cc14" if coarse else kind, channel, number
    return None


def _button(messages: list[Message]) -> tuple[str, int, int] | None:
    for m in messages:
        if (m.kind == "note" and m.value) or (m.kind == "cc" and m.value >= 64):
            return m.kind, m.channel, m.number
    return None


def _entered() -> bool:
    """Whether a line was typed; a closed standard input types nothing."""
    if sys.platform == "win32":
        import msvcrt

        return msvcrt.kbhit() and msvcrt.getwch() == "\r"
    import select

    return bool(select.select([sys.stdin], [], [], 0)[0]) and bool(sys.stdin.readline())
