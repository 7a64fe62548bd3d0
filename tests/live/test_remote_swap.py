"""Another model over OSC and MIDI: changed for real, and what can't be is told to who asked."""

import numpy as np
from live_runs import Array, Collected, wait_for
from osc_client import Client

from rtsep.live.midi.map import Binding, Map
from rtsep.live.midi.surface import Surface
from rtsep.live.options import Options
from rtsep.live.osc import OscServer, bind
from rtsep.live.session import Session

RATE = 16000
MAP = Map(
    ("voice", "drums"),
    (
        Binding("program", 1, 0, "model", model="half"),
        Binding("program", 1, 1, "model", model="refusing"),
        Binding("note", 1, 2, "mute", "drums"),
        Binding("note", 1, 3, "mute", "voice"),
    ),
)


def test_another_model():
    x = np.full((600 * RATE, 1), 0.1, np.float32)
    said = []
    with Session(Array(x), Collected(), RATE, 1, Options(factory="quarter_model:build")) as session:
        session.start()

        def swap(name):
            # Whoever was told of the last change may ask before it is all over.
            wait_for(lambda: not session.swaps.busy)
            return session.swap(factory=f"quarter_model:{name}")

        with OscServer(bind("0"), session.controls, session.status, None, swap) as server:
            client = Client(server.address, patience=200)
            assert client.ask("/rtsep/model") == ("/rtsep/model", "quarter")
            client.send("/rtsep/gain/background", -6.0)
            assert client.ask("/rtsep/model", "band") == ("/rtsep/model", "band")
            assert client.ask("/rtsep/gain/drums") == ("/rtsep/gain/drums", 0.0)
            assert round(client.ask("/rtsep/gain/background")[1], 3) == -6
            error, where, text = client.ask("/rtsep/model", "refusing")
            assert (error, where) == ("/rtsep/error", "/rtsep/model") and "no masks today" in text
            assert client.ask("/rtsep/model") == ("/rtsep/model", "band")
        surface = Surface(MAP, session.controls, None, swap, said.append)
        surface.receive([0x90, 2, 127])
        assert session.controls.mutes["drums"]
        surface.receive([0xC0, 0])
        wait_for(lambda: session.info["model"] == "half")
        # A control for a stem that this model lacks does nothing; all others are as ever.
        surface.receive([0x90, 2, 127])
        surface.receive([0x90, 3, 127])
        assert session.controls.mutes["voice"] and not said
        surface.receive([0xC0, 1])
        wait_for(lambda: said)
        assert "no masks today" in said[0] and session.info["model"] == "half"
