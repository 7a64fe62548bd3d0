"""The desk through textual's pilot: what it shows at several sizes, what keys and mouse do."""

import asyncio
import re

import pytest
from desk_runs import HELLO, laid
from textual.widgets import Static

from rtsep.audio.levels import to_db
from rtsep.desk.channel import Channel, Master, Strips, Toggle
from rtsep.desk.fader import Fader
from rtsep.desk.help import Help
from rtsep.desk.meter import Meter
from rtsep.desk.panels import Latency, Misses, Steps
from rtsep.live import layout as at

SIZES = [(80, 24), (100, 30), (160, 50)]
FOUR = ("drums", "bass", "other", "vocals")


def at_desk(test, stems=("voice", "background"), size=(80, 24)):
    """Runs `test(table, desk, pilot)` at a desk that is shown."""

    async def whole():
        with laid(stems) as (table, desk):
            table.sound(0.1, 0.001)
            async with desk.run_test(size=size) as pilot:
                table.say(hello=HELLO)
                await until(pilot, lambda: desk._hello)
                await test(table, desk, pilot)

    asyncio.run(whole())


async def until(pilot, condition):
    for _ in range(1200):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("waited in vain")


def lines(desk):
    """What is on the screen, row by row."""
    return [strip.text for strip in desk.screen._compositor.render_strips()]


def text(desk):
    return "\n".join(lines(desk))


def colours(desk):
    """All that is on the screen is painted with."""
    strips = desk.screen._compositor.render_strips()
    styles = [segment.style for strip in strips for segment in strip if segment.style]
    return {colour for style in styles for colour in (style.color, style.bgcolor) if colour}


@pytest.mark.parametrize("size", SIZES)
def test_all_is_on_the_screen(size):
    async def test(table, desk, pilot):
        table.stepped(0.6, 1000)
        table.stepped(12, 1)
        table.missed(at.LATE, 3, 61.25)
        table.missed(at.LATE, 4, 61.5)
        late = ("misses · 7", "max 12.00", "end run")
        await until(pilot, lambda: all(words in text(desk) for words in late))
        screen = desk.screen.region
        kinds = [Channel, Master, Fader, Toggle, Meter, Latency, Steps, Misses]
        for widget in [w for kind in kinds for w in desk.query(kind)]:
            assert widget.region.area and widget.region in screen, widget
        rows = lines(desk)
        assert len(rows) == size[1] and {len(row) for row in rows} == {size[0]}
        shown = text(desk)
        assert "rtsep convtasnet on onnxruntime, 16000 Hz" in shown
        assert "street.flac → none · 48000 Hz, 1 channel · paced simulated clock" in shown
        for part, samples, ms in (("rebuffer", 192, "4.00"), ("internal", 1184, "24.67")):
            assert re.search(rf"{part} +{samples} +{ms}", shown)
        assert "steps · budget 5.33 ms" in shown and "max 12.00" in shown
        assert re.search(r"1:01\.[25] +worker late ×7", shown)
        assert re.search(r"in .*-6\.0 dB +out .*-12\.0 dB", shown)
        for key in (
            "m mute",
            "s solo",
            "b bypass",
            "r record",
            "? help",
            "p preset",
            "c model",
            "q end run",
        ):
            assert key in shown
        assert "voice" in shown and "background" in shown and "█" in shown

    at_desk(test, size=size)


@pytest.mark.parametrize("stems", [FOUR, tuple(f"stem {k}" for k in range(16))])
def test_more_stems_than_fit_scroll(stems):
    async def test(table, desk, pilot):
        screen = desk.query_one(Strips).region
        faders = list(desk.query(Fader))
        assert len(faders) == len(stems) + 1
        for _ in stems:
            assert desk.focused.region in screen
            await pilot.press("right")
            await until(pilot, lambda: desk.focused.region in screen)
        assert desk.focused is faders[-1]
        await pilot.press("right")
        assert desk.focused is faders[0]

    at_desk(test, stems)


def test_keys():
    async def test(table, desk, pilot):
        c = table.controls
        await pilot.press("up", "up")
        assert to_db(c.gains["voice"]) == pytest.approx(2)
        await pilot.press("pagedown", "down")
        assert to_db(c.gains["voice"]) == pytest.approx(-5)
        await pilot.press("0", "right", "m")
        assert c.gains["voice"] == 1 and c.mutes == {"voice": False, "background": True}
        await pilot.press("1", "s", "2", "s")
        assert c.solos == {"voice": True, "background": True}
        await pilot.press("m", "S")
        assert not any(c.solos.values()) and not any(c.mutes.values())
        await pilot.press("m", "M")
        assert not any(c.mutes.values())
        await pilot.press("3", "down", "b")
        assert c.wet == pytest.approx(0.95) and c.bypass
        for key in ("1", "up", "up", "2", "pagedown", "1", "up"):  # faster than anybody looks
            desk.simulate_key(key)
        await until(pilot, lambda: to_db(c.gains["voice"]) > 2.9)
        assert to_db(c.gains["background"]) == pytest.approx(-6)
        await pilot.press("3", "m")  # of the mix: nothing to mute
        assert "mute is for stems" in text(desk) and not any(c.mutes.values())
        await pilot.press("b")
        assert not c.bypass

    at_desk(test)


def test_mouse():
    async def test(table, desk, pilot):
        c = table.controls
        voice, background = desk.query(Channel)
        await pilot.click(background.query(Toggle).last())
        assert c.solos["background"] and desk.focused is background.fader
        await pilot.click(voice.query(Toggle).first())
        assert c.mutes["voice"]
        await pilot.click(desk.query_one(Master).query_one(Toggle))
        assert c.bypass
        fader = voice.fader
        await pilot.mouse_down(fader, offset=(4, fader.size.height - 1))
        assert c.gains["voice"] == 0
        await pilot.hover(fader, offset=(4, 0))
        assert to_db(c.gains["voice"]) == pytest.approx(6)
        await pilot.mouse_up(fader, offset=(4, 0))
        await pilot.hover(fader, offset=(4, 3))
        assert to_db(c.gains["voice"]) == pytest.approx(6)
        await pilot.click(fader, offset=(4, 6), times=2)
        assert c.gains["voice"] == 1
        await pilot.click(fader, offset=(4, fader._row(fader.law.place(0.1))))
        assert to_db(c.gains["voice"]) == pytest.approx(-20)  # a mark is hit exactly

    at_desk(test)


def test_what_others_change_is_shown():
    async def test(table, desk, pilot):
        voice, background = desk.query(Channel)
        table.controls.gains["voice"] = 0.5
        table.controls.solos["background"] = True
        table.controls.wet = 0.25
        await until(pilot, lambda: "-6.0 dB" in text(desk) and not voice.fader.heard)
        assert background.fader.heard and [t.on for t in background.query(Toggle)] == [False, True]
        await until(pilot, lambda: "25 %" in text(desk))
        assert voice.fader.level == pytest.approx(-20, abs=1)
        assert background.fader.level == pytest.approx(-60, abs=1)

    at_desk(test)


def test_recording_and_its_answers():
    async def test(table, desk, pilot):
        await pilot.press("r")
        assert await asyncio.to_thread(table.asked, "record") is True
        table.say(done="recording to take-1")
        table.say(taking="take-1", seconds=65)
        await until(pilot, lambda: "● take-1 1:05" in lines(desk)[0])
        assert "recording to take-1" in text(desk)
        await pilot.press("r")
        assert await asyncio.to_thread(table.asked, "record") is False
        table.say(taking=None, seconds=0)
        table.say(refused="can't record to take-2: No space left on device")
        table.ours.sendall(b"nonsense\n[1]\n")
        await until(pilot, lambda: "●" not in lines(desk)[0])
        assert "No space left on device" in text(desk)
        assert await asyncio.to_thread(table.asked, "alive") is True

    at_desk(test)


def test_presets(tmp_path, monkeypatch):
    monkeypatch.setenv("RTSEP_CONFIG_DIR", str(tmp_path))

    async def test(table, desk, pilot):
        await pilot.press("p")
        assert "no presets yet" in text(desk)
        (tmp_path / "presets").mkdir()
        for name, stem in (("quiet", "voice"), ("wrong", "drums")):
            content = f"[controls]\nwet = 0.5\n[controls.gains]\n{stem} = -20\n"
            (tmp_path / "presets" / f"{name}.toml").write_text(content)
        await pilot.press("p")
        await until(pilot, lambda: "wrong" in text(desk))
        await pilot.press("escape", "p", "enter")
        await until(pilot, lambda: table.controls.wet == 0.5)
        assert to_db(table.controls.gains["voice"]) == pytest.approx(-20)
        table.controls.wet = 1
        await pilot.press("p", "down", "enter")
        await until(pilot, lambda: "'drums'" in text(desk))
        assert table.controls.wet == 1

    at_desk(test)


def test_another_model_is_asked_for():
    async def test(table, desk, pilot):
        await pilot.press("c")
        await until(pilot, lambda: "convtasnet" in text(desk) and "checkpoint's file" in text(desk))
        await pilot.press("enter")
        assert await asyncio.to_thread(table.asked, "model") == "convtasnet"
        await pilot.press("c", *"a.m", "enter")
        assert await asyncio.to_thread(table.asked, "model") == "a.m"
        await pilot.press("c", "escape", "b")
        assert table.controls.bypass

    at_desk(test)


def test_the_end_is_asked_for_twice():
    async def test(table, desk, pilot):
        await pilot.press("q")
        assert "q again ends the run" in text(desk)
        await pilot.press("q")
        assert await asyncio.to_thread(table.asked, "end") is True
        table.ours.close()
        await until(pilot, lambda: not desk._running)
        assert desk.return_code == 0

    at_desk(test)


def test_control_c_ends_the_run_at_once_and_x_the_desk_alone():
    async def test(table, desk, pilot):
        await pilot.press("ctrl+c")
        assert await asyncio.to_thread(table.asked, "end") is True
        assert desk._running
        await pilot.press("x")
        await until(pilot, lambda: not desk._running)

    at_desk(test)


def test_help_names_every_key():
    async def test(table, desk, pilot):
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(desk.screen, Help))
        page = text(desk)
        keys = {binding.key for binding in desk.BINDINGS if len(binding.key) == 1}
        assert keys - set("123456789") <= set(re.findall(r"\b\w\b", page))
        assert desk.screen.query_one(Static).region in desk.screen.region
        await pilot.press("m")
        await until(pilot, lambda: not isinstance(desk.screen, Help))
        assert not any(table.controls.mutes.values())

    at_desk(test)


def test_another_model_brings_its_stems():
    async def test(table, desk, pilot):
        table.describe(("background", "voice"), model="another")
        await until(pilot, lambda: [c.stem for c in desk.query(Channel)] == ["background", "voice"])
        assert "rtsep another on" in lines(desk)[0]
        assert len(desk.query(Master)) == 1

    at_desk(test)


def test_only_the_terminals_own_colours():
    """Sixteen of them and the default, whatever they look like there."""

    async def test(table, desk, pilot):
        table.missed(at.LATE, 1, 1)
        table.stepped(0.6, 9)
        table.say(notice="the input clips")
        await pilot.press("m", "right", "s", "b")
        await until(pilot, lambda: "the input clips" in text(desk))
        painted = colours(desk)
        assert len(painted) > 4
        assert all(c.is_default or c.number is not None and c.number < 16 for c in painted)

    at_desk(test)


def test_no_color(monkeypatch):
    """What is lit is told by more than colour."""
    monkeypatch.setenv("NO_COLOR", "1")

    async def test(table, desk, pilot):
        table.missed(at.LATE, 1, 1)
        await pilot.press("m")
        await until(pilot, lambda: "misses · 1" in text(desk))
        assert all(colour.is_default for colour in colours(desk))
        mute, solo = desk.query(Channel).first().query(Toggle)
        assert mute.on and "reverse" in str(mute.render().spans[0].style)
        assert not solo.render().spans

    at_desk(test)
