"""OSC: addresses, answers, subscriptions, and what is no OSC at all."""

import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_desk import desk, no_swap
from osc_client import Client, message
from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder

from rtsep.errors import Failure, WrongCall
from rtsep.live import layout
from rtsep.live.osc import OscServer, bind
from rtsep.live.scene import Scene
from rtsep.live.status import Status


@pytest.fixture
def room():
    """A desk of three stems, and a client of its server."""

    def preset(name):
        if name != "soft":
            raise WrongCall(f"no preset {name!r}")
        return Scene({"bass": 0.5}, wet=0.25)

    with desk() as (device, controls):
        with OscServer(bind("0"), controls, Status(device.block), preset, no_swap) as server:
            yield Client(server.address), controls, device.block


def test_every_address(room):
    client, controls, _ = room
    client.send("/rtsep/gain/bass", -6)
    client.send("/rtsep/gain/drums", float("-inf"))
    client.send("/rtsep/mute/vocals", 1)
    client.send("/rtsep/solo/bass", True)
    client.send("/rtsep/wet", 0.5)
    client.send("/rtsep/bypass", 1.0)
    client.send("/rtsep/input-gain", 6.0)
    # Asked for, and thereby waited for: datagrams come in order.
    assert client.ask("/rtsep/input-gain") == ("/rtsep/input-gain", pytest.approx(6, abs=1e-4))
    assert client.ask("/rtsep/gain/bass") == ("/rtsep/gain/bass", pytest.approx(-6, abs=1e-4))
    assert client.ask("/rtsep/solo/bass") == ("/rtsep/solo/bass", 1)
    assert client.ask("/rtsep/bypass") == ("/rtsep/bypass", 1)
    assert controls.gains == {"drums": 0, "bass": pytest.approx(0.5012, abs=1e-4), "vocals": 1}
    assert controls.mutes["vocals"] and dict(controls.solos) == {
        "drums": False,
        "bass": True,
        "vocals": False,
    }
    assert controls.wet == 0.5 and controls.bypass
    client.send("/rtsep/preset", "soft")
    assert client.ask("/rtsep/wet") == ("/rtsep/wet", 0.25)
    assert controls.gains["bass"] == 0.5 and not controls.mutes["vocals"] and not controls.bypass


def test_the_first_choice_ends_the_solo(room):
    client, controls, _ = room
    assert client.ask("/rtsep/solo/vocals")[1] == 1 and controls.untouched
    client.send("/rtsep/gain/drums", 0)
    assert client.ask("/rtsep/solo/vocals")[1] == 0 and not controls.untouched


@pytest.mark.parametrize(
    "address, values, told",
    [
        ("/rtsep/gain/piano", [1.0], "no stem 'piano': there is drums, bass, vocals"),
        ("/rtsep/gain/bass", [41.0], "41 dB: at most 40"),
        ("/rtsep/gain/bass", [float("nan")], "nan: a number is expected"),
        ("/rtsep/gain/bass", ["loud"], "'loud': a number is expected"),
        ("/rtsep/gain/bass", [1.0, 2.0], "2 arguments; it takes one"),
        ("/rtsep/mute/bass", [0.5], "0.5: 0 or 1 is expected"),
        ("/rtsep/mute/bass", ["1"], "'1': 0 or 1 is expected"),
        ("/rtsep/solo", [1], "no such address; there are /rtsep/gain/drums, "),
        ("/rtsep/wet", [1.5], "a wet of 1.5; between 0 and 1"),
        ("/rtsep/bypass", [2], "2: 0 or 1 is expected"),
        ("/rtsep/preset", ["loud"], "no preset 'loud'"),
        ("/rtsep/preset", [1], "1: a text is expected"),
        ("/rtsep/preset", [], "0 arguments; it takes one"),
        ("/rtsep/subscribe", ["weather"], "'weather': meters or misses"),
        ("/rtsep/subscribe", ["meters", 1e6], "for 1e+06 s: more than 0, at most 3600"),
        ("/other", [1], "no such address; there are "),
    ],
)
def test_mistakes_are_answered_and_change_nothing(room, address, values, told):
    client, _, block = room
    before = block.i64.copy()
    error, where, text = client.ask(address, *values)
    assert (error, where) == ("/rtsep/error", address) and text.startswith(told)
    assert (before == block.i64).all()


def test_bundles(room):
    client, controls, _ = room
    builder = OscBundleBuilder(IMMEDIATELY)
    builder.add_content(message("/rtsep/gain/bass", -20.0))
    builder.add_content(message("/rtsep/mute/piano", 1))
    client.throw(builder.build().dgram)
    assert client.heard()[:2] == ("/rtsep/error", "/rtsep/mute/piano")
    assert controls.gains["bass"] == pytest.approx(0.1)
    builder = OscBundleBuilder(time.time() + 60)
    builder.add_content(message("/rtsep/gain/bass", 0.0))
    client.throw(builder.build().dgram)
    assert "a bundle for later" in client.heard()[2]
    assert controls.gains["bass"] == pytest.approx(0.1)


def test_subscriptions(room):
    client, _, block = room
    client.send("/rtsep/subscribe", "meters")
    seen = {client.heard()[0] for _ in range(10)}
    assert seen == {f"/rtsep/meter/{m}" for m in ("input", "output", "drums", "bass", "vocals")}
    client.send("/rtsep/unsubscribe", "meters")
    client.send("/rtsep/subscribe", "misses")
    assert client.until("/rtsep/misses") == ("/rtsep/misses", 0)
    block.i64[layout.MISSES + layout.LATE] = 3
    assert client.until("/rtsep/misses") == ("/rtsep/misses", 3)
    assert client.heard() == ("/rtsep/miss", "worker late", 3)
    client.send("/rtsep/unsubscribe", "misses")
    client.send("/rtsep/subscribe", "meters", 0.01)
    # It runs out: what comes after it is the answer to a question.
    time.sleep(0.3)
    while (got := client.ask("/rtsep/wet"))[0] != "/rtsep/wet":
        assert got[0].startswith("/rtsep/meter/")


def test_no_osc_is_answered_and_nothing_ends_it(room, caplog):
    client, _, block = room
    before = block.i64.copy()
    wet = b"/rtsep/wet\0\0"
    for data in (
        b"",
        b"\0" * 4,
        b"hello",
        b"/" * 4096,
        wet + b",f\0\0",
        wet + b",f\0\0\0\0",
        wet + b",Z\0\0",
        b"#bundle\0" * 9,
        b"#bundle\0" + bytes(7) + b"\1",
        b"#bundle\0" + bytes(7) + b"\1" + bytes(3) + b"\x10" + wet + b",Z\0\0",
    ):
        client.throw(data)
        error, where, text = client.heard()
        assert (error, where) == ("/rtsep/error", "") and text.startswith("no OSC: "), data
    client.throw(message("/rtsep/error", "x").dgram)  # to be left alone
    assert client.ask("/rtsep/bypass") == ("/rtsep/bypass", 0)
    assert (before == block.i64).all() and not caplog.records

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=64))
    def anything(data):
        client.throw(data)

    anything()
    while (got := client.ask("/rtsep/bypass"))[0] != "/rtsep/bypass":
        assert got[0] == "/rtsep/error"
    assert (before == block.i64).all()


@pytest.mark.parametrize("text", ["", "9000x", "-1", "70000", "nobody.invalid:9000", "[::1"])
def test_wrong_addresses(text):
    with pytest.raises(WrongCall, match="--osc "):
        bind(text)


def test_a_port_in_use_and_a_whole_run():
    """... in one line, before anything is opened; and the same command where the port is free."""
    with bind("0") as taken:
        host, port = taken.getsockname()
        assert host == "127.0.0.1"
        with pytest.raises(Failure, match=f"--osc {port}: address already in use"):
            bind(str(port))
        command = [sys.executable, "-m", "rtsep", "run", "--factory", "quarter_model:build"]
        command += ["--input", "none", "--output", "none", "--osc", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240)
        assert done.returncode == 1 and done.stdout == ""
        assert done.stderr == f"rtsep: --osc {port}: address already in use: choose another\n"
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        told = ""
        while not told.startswith("OSC: "):
            told = running.stdout.readline()
            assert told, running.communicate()
        assert told == f"OSC: listening on 127.0.0.1, port {port}\n"
        client = Client(("127.0.0.1", port))
        assert client.ask("/rtsep/solo/voice") == ("/rtsep/solo/voice", 1)
        client.send("/rtsep/gain/voice", -3.0)
        assert client.ask("/rtsep/solo/voice") == ("/rtsep/solo/voice", 0)
    finally:
        running.terminate()
        _, errors = running.communicate(timeout=240)
    assert running.returncode == 0 and errors == ""
