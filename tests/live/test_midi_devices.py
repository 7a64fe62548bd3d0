"""MIDI through real ports, of JACK: a box of faders and lights, in this process."""

import dataclasses
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from jack_card import WHY_NOT, needs_jack
from live_desk import desk, no_swap
from midi_box import JUMP, MAP, box, preset

from rtsep.audio.fader import gain_at, place_of
from rtsep.errors import WrongCall
from rtsep.live.midi import map as maps
from rtsep.live.midi.ports import choose, ports
from rtsep.live.midi.surface import Surface

if WHY_NOT is None:
    from jack_card import Server
    from jack_runs import wait_for

pytestmark = needs_jack
RTSEP = [sys.executable, "-m", "rtsep"]


@pytest.fixture(scope="module", autouse=True)
def server():
    with Server(256) as server:
        yield server


@contextmanager
def connected(map=JUMP):
    said = []
    with desk() as (device, controls), box() as there:
        with Surface(
            map, controls, preset, no_swap, said.append, choose("box", ports())
        ) as surface:
            wait_for(lambda: surface._device.there, 30)
            yield there, controls, device, said


def test_ports():
    with box(), box("other"):
        names = [port.name for port in ports()]
        assert "box:faders" in names and "other:faders" in names
        assert choose("OTHER", ports()).name == "other:faders"
        with pytest.raises(WrongCall, match="--midi third: no such port; there is 'box:faders'"):
            choose("third", ports())
        with pytest.raises(WrongCall, match="--midi: which of 'box:faders'"):
            choose(None, ports())
    with box():
        assert choose(None, ports()).name == "box:faders"


def test_what_is_sent_is_done():
    with connected() as (there, controls, _, _):
        there.send([0xB0, 7, 32], [0xB0, 8, 90], [0xB0, 40, 3], [0xE2, 0, 96], [0x91, 60, 127])
        there.send([0xC0, 5], [0xB1, 20, 127])
        wait_for(lambda: controls.bypass, 30)
        assert controls.gains["bass"] == 0.5 and controls.wet == 0.25  # the preset was the last


def test_a_flood_ends_where_its_last_message_is():
    with connected() as (there, controls, device, _):
        for turn in range(30):
            # As many as JACK hands over in a period.
            for k in range(8):
                there.send([0xB0, 7, k], [0xB5, k, 1], [0x7F, k], [0xF8], [0xB0, 7])
            there.send([0xB0, 7, 60 + turn])
            at = gain_at((60 + turn) / 127)
            wait_for(lambda at=at: controls.gains["drums"] == at, 30)
        assert controls.gains["bass"] == 1 and not controls.bypass


def test_feedback():
    """All controls at the beginning, then what changes, and nothing that the box itself sent."""
    with connected() as (there, controls, _, _):
        first = [[0xB0, 7, round(0.75 * 127)], [0xB0, 9, 127], [0x91, 60, 0], [0x91, 61, 0]]
        wait_for(lambda: all(message in there.lit for message in first), 30)
        there.lit.clear()
        controls.mutes["drums"] = True
        controls.gains["vocals"] = 0.25
        at = round(16383 * place_of(0.25))
        wait_for(lambda: [0xE2, at & 127, at >> 7] in there.lit, 30)
        assert [0x91, 60, 127] in there.lit
        there.lit.clear()
        there.send([0xB0, 7, 50])
        wait_for(lambda: controls.gains["drums"] == gain_at(50 / 127), 30)
        controls.bypass = True
        wait_for(lambda: there.lit, 30)
        assert there.lit == [[0xB1, 20, 127]]


def test_gone_and_back():
    with connected(dataclasses.replace(MAP, soft=False)) as (there, controls, _, said):
        there.close()
        wait_for(lambda: said, 30)
        assert said == ["MIDI: box:faders is gone"]
        controls.gains["drums"] = 0.5
        with box() as again:
            wait_for(lambda: len(said) == 2, 30)
            assert said[1] == "MIDI: box:faders is back"
            wait_for(lambda: [0xB0, 7, round(127 * place_of(0.5))] in again.lit, 30)
            again.send([0xB0, 7, 0])
            wait_for(lambda: controls.gains["drums"] == 0, 30)


def test_the_commands(tmp_path, monkeypatch):
    monkeypatch.setenv("RTSEP_CONFIG_DIR", str(tmp_path))
    with box() as there:
        done = subprocess.run([*RTSEP, "midi", "ports"], capture_output=True, text=True)
        assert "inputs:\n  box:faders  (" in done.stdout and "  box-01:lights  (" in done.stdout
        assert (done.returncode, done.stderr) == (0, "")
        command = [*RTSEP, "midi", "monitor"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout.readline().startswith("listening to 'box:faders'")
            there.send([0xB0, 7, 100], [0xE1, 0, 64], [1, 2])
            got = [running.stdout.readline().split() for _ in range(3)]
            running.send_signal(2)
            assert running.wait(60) == 130
        assert got == [
            ["channel", "1", "cc", "7", "100"],
            ["channel", "2", "bend", "8192"],
            ["other:", "01", "02"],
        ]


def answer(running, there):
    """Does what `learn` asks for; what it wrote."""
    told = ""
    moves = {
        "fader for voice … ": [[0xB0, n, v] for v in range(5) for n in (1, 33)],
        "mute button for voice … ": [[0x90, 10, 127], [0x80, 10, 0]],
        "solo button for voice … ": [[0xB0, 50, 127], [0xB0, 50, 0]],
        "fader for background … ": [[0xE1, 0, v] for v in range(5)],
        "fader for wet … ": [[0xB0, 2, v] for v in range(9)],
    }
    while (letter := running.stdout.read(1)) != "":
        told += letter
        for question, messages in moves.items():
            if told.endswith(question):
                there.send(*messages)
                break
        else:
            if told.endswith(" … "):
                running.stdin.write("\n")
                running.stdin.flush()
    return told


def test_learn_and_run(tmp_path, monkeypatch):
    """A map is learnt, a run is controlled with it, and a wrong one is refused."""
    monkeypatch.setenv("RTSEP_CONFIG_DIR", str(tmp_path))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with box() as there:
        with subprocess.Popen([*RTSEP, "midi", "learn"], text=True, **pipes) as running:
            told = answer(running, there)
        assert running.returncode == 0 and told.endswith("midi.toml: 5 controls\n"), told
        map = maps.load()
        assert [(b.message, b.channel, b.number, b.does, b.stem) for b in map.bindings] == [
            ("cc14", 1, 1, "gain", "voice"),
            ("note", 1, 10, "mute", "voice"),
            ("cc", 1, 50, "solo", "voice"),
            ("bend", 2, 0, "gain", "background"),
            ("cc", 1, 2, "wet", None),
        ]
        assert map.port == "box:faders"
        again = subprocess.run([*RTSEP, "midi", "learn"], capture_output=True, text=True)
        assert again.returncode == 2 and "midi.toml is there already" in again.stderr
        run = [*RTSEP, "run", "--factory", "quarter_model:build", "--input", "none"]
        run += ["--output", "none", "--midi"]
        with subprocess.Popen(run, text=True, **pipes) as running:
            told = ""
            while not told.startswith("MIDI: "):
                told = running.stdout.readline()
                assert told
            assert told.startswith("MIDI: 'box:faders' (") and told.endswith("), 5 controls\n")
            wait_for(lambda: [0x90, 10, 0] in there.lit, 60)
            there.send([0x90, 10, 127])
            wait_for(lambda: [0x90, 10, 127] in there.lit, 60)
            running.terminate()
            assert running.wait(60) == 0
        text = (tmp_path / "midi.toml").read_text()
        (tmp_path / "midi.toml").write_text(text.replace('"voice"', '"vocals"'))
        done = subprocess.run(run, capture_output=True, text=True, timeout=240)
        assert done.returncode == 2 and done.stdout == ""
        told = r"midi.toml:10: 'vocals': quarter has voice, background; this map was learnt for"
        assert told in done.stderr and done.stderr.count("\n") == 1


def test_no_such_port(tmp_path, monkeypatch):
    monkeypatch.setenv("RTSEP_CONFIG_DIR", str(tmp_path))
    maps.save(maps.place(), MAP)
    time.sleep(0.1)
    run = [*RTSEP, "run", "--input", "none", "--output", "none", "--midi", "box"]
    done = subprocess.run(run, capture_output=True, text=True, timeout=240)
    assert (done.returncode, done.stderr) == (2, "rtsep: --midi box: there is no MIDI port\n")
