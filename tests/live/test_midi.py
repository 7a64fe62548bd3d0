"""MIDI without a device: bytes, maps, and what a surface does to the controls."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_desk import STEMS, desk, no_swap
from midi_box import JUMP, MAP, preset

from rtsep.audio.fader import gain_at, place_of
from rtsep.errors import WrongCall
from rtsep.live.midi import map as maps
from rtsep.live.midi.map import Binding, Map
from rtsep.live.midi.messages import Message, decode, encode
from rtsep.live.midi.surface import Surface


def test_bytes():
    assert decode([0xB0, 7, 100]) == Message("cc", 1, 7, 100)
    assert decode([0x91, 60, 1]) == Message("note", 2, 60, 1)
    assert decode([0x91, 60, 0]) == decode([0x81, 60, 64]) == Message("note", 2, 60, 0)
    assert decode([0xCF, 5]) == Message("program", 16, 5, 127)
    assert decode([0xE2, 1, 2]) == Message("bend", 3, 0, 257)
    damaged = ([], [7], [7, 7, 7], [0xB0], [0xB0, 7], [0xB0, 7, 128], [0xB0, 7, 1, 2], [0xC0, 1, 2])
    for data in (*damaged, [0xF0, 1, 0xF7], [0xF8], [0xA0, 1, 2], [0xD0, 1], [256, 1, 1]):
        assert decode(data) is None
    for kind, number in (("cc", 7), ("note", 60), ("bend", 0)):
        for place in (0.0, 0.5, 1.0):
            (data,) = encode(kind, 16, number, place)
            m = decode(data)
            assert (m.kind, m.channel, m.number) == (kind, 16, number)
            assert m.value == round(place * (16383 if kind == "bend" else 127))
    assert encode("cc14", 1, 8, 1.0) == [[0xB0, 8, 127], [0xB0, 40, 127]]


def test_every_kind_of_control():
    with desk() as (_, c):
        surface = Surface(JUMP, c, preset, no_swap)
        surface.receive([0xB0, 7, 64])
        assert not c.untouched and c.gains["drums"] == gain_at(64 / 127)
        surface.receive([0xB0, 7, 0])
        assert c.gains["drums"] == 0
        surface.receive([0xB0, 8, 100])
        surface.receive([0xB0, 40, 77])
        assert c.gains["bass"] == gain_at((100 << 7 | 77) / 16383)
        surface.receive([0xB0, 8, 100])  # sent again before each fine step, as many devices do
        assert c.gains["bass"] == gain_at((100 << 7 | 77) / 16383)
        surface.receive([0xE2, 0, 96])
        assert c.gains["vocals"] == gain_at((96 << 7) / 16383)
        surface.receive([0xB0, 9, 127])
        assert c.wet == 1
        surface.receive([0xB0, 9, 0])
        assert c.wet == 0
        for on in (True, False):
            surface.receive([0x91, 60, 90])
            surface.receive([0x81, 60, 0])
            assert c.mutes["drums"] == on
            surface.receive([0xB1, 20, 127])
            surface.receive([0xB1, 20, 0])
            assert c.bypass == on
        surface.receive([0x91, 61, 1])
        assert c.solos["bass"]
        surface.receive([0x91, 61, 0])
        assert not c.solos["bass"]
        surface.receive([0xC0, 5])
        assert c.gains["bass"] == 0.5 and c.wet == 0.25


def test_the_first_choice_ends_the_solo():
    with desk() as (_, c):
        surface = Surface(MAP, c, preset, no_swap)
        surface.receive([0xB0, 9, 127])
        assert c.untouched and c.heard == {"drums": 0, "bass": 0, "vocals": 1}
        surface.receive([0x91, 60, 90])
        assert c.heard == {"drums": 0, "bass": 1, "vocals": 1}


def test_soft_take_over():
    """A fader acts once it has met the control, and again only after it has met what another set;
    so that no message moves a control by more than the fader's own way."""
    with desk() as (_, c):
        surface = Surface(MAP, c, preset, no_swap)
        for value in (0, 10, 40, 100):
            surface.receive([0xB0, 7, value])
            assert c.gains["drums"] == (1 if value < 100 else gain_at(100 / 127))
        surface.receive([0xB0, 7, 20])
        assert c.gains["drums"] == gain_at(20 / 127)
        c.gains["drums"] = 1.0
        for value in (19, 60, 100):
            surface.receive([0xB0, 7, value])
            assert c.gains["drums"] == (1 if value < 100 else gain_at(100 / 127))
        # A motor fader that followed stands where the control is, and acts at once.
        c.gains["drums"] = gain_at(30 / 127)
        surface.receive([0xB0, 7, 30])
        surface.receive([0xB0, 7, 31])
        assert c.gains["drums"] == gain_at(31 / 127)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.integers(0, 255), max_size=4), max_size=200))
def test_floods_of_anything(messages):
    """Only what is mapped, and only within what the control can be."""
    mapped = {(b.message.removesuffix("14"), b.channel, b.number) for b in MAP.bindings}
    mapped.add(("cc", 1, 40))
    with desk() as (device, c):
        surface = Surface(JUMP, c, preset, no_swap)
        before = device.block.i64.copy()
        for data in messages:
            surface.receive(data)
            m = decode(data)
            if m is None or (m.kind, m.channel, m.number) not in mapped:
                assert (before == device.block.i64).all()
            before[:] = device.block.i64
        assert all(0 <= gain <= gain_at(1) for gain in c.gains.values()) and 0 <= c.wet <= 1


def test_a_preset_that_is_gone_is_told():
    said = []
    with desk() as (device, c):
        lost = Map(STEMS, (Binding("program", 1, 1, "preset", preset="lost"),))
        before = device.block.i64.copy()
        Surface(lost, c, preset, no_swap, said.append).receive([0xC0, 1])
        assert said == ["MIDI: no preset 'lost'"] and (before == device.block.i64).all()


@given(st.floats(0, 1))
def test_feedback_is_what_the_fader_would_send(place):
    (data,) = encode("cc", 1, 7, place)
    assert abs(place_of(gain_at(decode(data).value / 127)) - place) < 0.03


TEXT = """\
stems = ["drums", "bass"]
port = "nano \\"2\\""
take-over = "soft"

[[control]]
message = "cc"
channel = 1
number = 7
does = "gain"
stem = "drums"

[[control]]
message = "note"
channel = 16
number = 60
does = "mute"
stem = "bass"
mode = "momentary"

[[control]]
message = "program"
channel = 1
number = 1
does = "preset"
preset = "soft"

[[control]]
message = "program"
channel = 1
number = 2
does = "model"
model = "small"
"""


def test_maps_are_kept(tmp_path):
    (tmp_path / "a.toml").write_text(TEXT)
    map = maps.load(tmp_path / "a.toml")
    assert map.port == 'nano "2"' and map.soft and map.stems == ("drums", "bass")
    assert map.bindings[3] == Binding("program", 1, 2, "model", model="small")
    assert map.bindings[1] == Binding("note", 16, 60, "mute", "bass", mode="momentary")
    maps.save(tmp_path / "b.toml", map)
    again = maps.load(tmp_path / "b.toml")
    assert dataclasses.replace(again, document=None) == dataclasses.replace(map, document=None)
    whole = dataclasses.replace(MAP, soft=False)
    maps.save(tmp_path / "b.toml", whole)
    assert dataclasses.replace(maps.load(tmp_path / "b.toml"), document=None) == whole


@pytest.mark.parametrize(
    "before, after, line, message",
    [
        ('take-over = "soft"', 'take-over = "hard"', 3, "take-over = 'hard': soft or jump"),
        ('take-over = "soft"', 'takeover = "soft"', 3, "what is 'takeover'? There is stems, port,"),
        ('"drums", "bass"', '"drums", 1', 1, "stems is a list"),
        ("channel = 16", "channel = 17", 14, "channel = 17: 1 to 16"),
        ("channel = 16", "channel = true", 14, "channel = True: 1 to 16"),
        ("channel = 16\n", "", 12, "channel is missing: 1 to 16"),
        ("number = 60", "number = 128", 15, "number = 128: 0 to 127"),
        ('message = "note"', 'message = "knob"', 13, "message = 'knob': cc, cc14, note, program,"),
        ('message = "note"', 'message = "bend"', 16, "does = 'mute': a bend can be gain, wet"),
        ('message = "cc"', 'message = "note"', 9, "does = 'gain': a note can be mute, solo,"),
        (
            'does = "gain"',
            'does = "pan"',
            9,
            "does = 'pan': gain, wet, mute, solo, bypass, preset, model",
        ),
        ('does = "gain"', 'does = "wet"', 10, "stem = 'drums': wet has none"),
        ('stem = "bass"', 'stem = "vocals"', 17, "stem = 'vocals': drums, bass"),
        ('"momentary"', '"hold"', 18, "mode = 'hold': toggle, momentary"),
        ('preset = "soft"', "preset = 1", 25, "preset = 1: a preset's name"),
        ('model = "small"', "", 27, "model is missing: a model's name"),
        ('does = "model"', 'does = "mute"', 31, "does = 'mute': a program can be preset, model"),
        ("number = 1\n", "number = 1\ncolour = 2\n", 24, "what is 'colour'? There is message,"),
        ("number = 60", "number = ", 15, "no TOML: "),
        (
            'message = "note"\nchannel = 16\nnumber = 60\ndoes = "mute"',
            'message = "cc"\nchannel = 1\nnumber = 7\ndoes = "mute"',
            12,
            "this control is used in line 5 already",
        ),
    ],
)
def test_mistakes_in_maps(tmp_path, before, after, line, message):
    path = tmp_path / "midi.toml"
    assert TEXT.count(before) == 1
    path.write_text(TEXT.replace(before, after))
    with pytest.raises(WrongCall) as wrong:
        maps.load(path)
    assert str(wrong.value).startswith(f"{path}:{line}: {message}")


def test_a_map_for_another_model(tmp_path):
    path = tmp_path / "midi.toml"
    with pytest.raises(WrongCall, match="no MIDI map .*midi.toml: `rtsep midi learn` writes one"):
        maps.load(path)
    path.write_text(TEXT)
    map = maps.load(path)
    map.check_stems("band", STEMS)
    with pytest.raises(WrongCall, match=r"midi.toml:10: 'drums': quarter has voice, background; "):
        map.check_stems("quarter", ("voice", "background"))
