"""`rtsep run --osc`: what else controls a run, from its beginning to its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


class Remotes:
    """As a context manager: takes what was asked for before anything else is opened; `attached` to
    a session it acts. Raises what `bind` raises."""

    def __init__(self, osc: str | None):
        self._osc = osc
        self._undo = ExitStack()

    def __enter__(self) -> Remotes:
        if self._osc is not None:
            from rtsep.live.osc import bind

            self._osc = self._undo.enter_context(bind(self._osc))
        return self

    def __exit__(self, *_) -> None:
        self._undo.close()

    @contextmanager
    def attached(self, session) -> Iterator[list[str]]:
        """What there is, a line each."""
        said = []
        with ExitStack() as undo:
            if self._osc is not None:
                from rtsep.live.osc import OscServer

                server = OscServer(self._osc, session.controls, session.status, _scene)
                host, port = undo.enter_context(server).address
                said.append(f"OSC: listening on {host}, port {port}")
            yield said


def _scene(preset: str):
    from rtsep.live import presets

    return presets.load(preset).scene
