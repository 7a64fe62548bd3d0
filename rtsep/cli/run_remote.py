"""`rtsep run --midi --osc`: what else controls a run, from its beginning to its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path


class Remotes:
    """As a context manager: takes what was asked for, before anything else is opened; `attached` to
    a session it acts.

    `osc`: [HOST:]PORT; `midi`: a port's name, "" for the map's own or the only one; None: neither.
    Raises what binding, reading the map and choosing the port raise.
    """

    def __init__(self, osc: str | None, midi: str | None, map: Path | None):
        self._osc, self._midi, self._path = osc, midi, map
        self._map = self._port = None
        self._undo = ExitStack()
        self._happened: list[str] = []

    def __enter__(self) -> Remotes:
        if self._midi is not None:
            from rtsep.live.midi import map as maps
            from rtsep.live.midi.ports import choose, ports

            self._map = maps.load(self._path)
            self._port = choose(self._midi or self._map.port, ports())
        if self._osc is not None:
            from rtsep.live.osc import bind

            self._osc = self._undo.enter_context(bind(self._osc))
        return self

    def __exit__(self, *_) -> None:
        self._undo.close()

    def check_stems(self, model: str, stems: tuple[str, ...]) -> None:
        """Raises `WrongCall` where the map was learnt for other stems."""
        if self._map is not None:
            self._map.check_stems(model, stems)

    @contextmanager
    def attached(self, session) -> Iterator[list[str]]:
        """What there is, a line each."""
        said = []
        with ExitStack() as undo:
            if self._map is not None:
                from rtsep.live.midi.surface import Surface

                say = self._happened.append
                surface = Surface(
                    self._map, session.controls, _scene, session.swap, say, self._port
                )
                undo.enter_context(surface)
                said.append(f"MIDI: {self._port}, {len(self._map.bindings)} controls")
            if self._osc is not None:
                from rtsep.live.osc import OscServer

                server = OscServer(
                    self._osc, session.controls, session.status, _scene, session.swap
                )
                host, port = undo.enter_context(server).address
                said.append(f"OSC: listening on {host}, port {port}")
            yield said

    def new(self) -> list[str]:
        """What happened since this was last called, a line each."""
        fresh = self._happened[:]
        del self._happened[: len(fresh)]
        return list(dict.fromkeys(fresh))


def _scene(preset: str):
    from rtsep.live import presets

    return presets.load(preset).scene
