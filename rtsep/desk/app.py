"""The desk: what it shows and what its keys do."""

from __future__ import annotations

import asyncio
import socket
import time

from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Footer, Static

from rtsep import models
from rtsep.desk.channel import Channel, Master, Strips, Toggle
from rtsep.desk.choice import Choice
from rtsep.desk.colours import TERMINAL
from rtsep.desk.fader import Fader
from rtsep.desk.heading import Heading
from rtsep.desk.help import Help
from rtsep.desk.link import Lines, line
from rtsep.desk.meter import Meter
from rtsep.desk.misses import MissLog
from rtsep.desk.panels import Latency, Misses, Steps, clock
from rtsep.desk.steps import budget
from rtsep.errors import Failure
from rtsep.live import presets
from rtsep.live.controls import Controls
from rtsep.live.description import seal
from rtsep.live.layout import BINS, CAPTURE, LAST_MISS, RATE, STEP_HISTOGRAM, Block
from rtsep.live.ring import written
from rtsep.live.status import Status

_FAST, _SLOW = 1 / 12, 1 / 3  # s between two looks: at faders and meters, at all else
_ALIVE = 1.0  # s between two signs of life
_TWICE = 3.0  # s in which the second q ends the run


class Desk(App):
    """`block`: the run's, described; `link`: the socket to the run (see `link.py`)."""

    CSS_PATH = "desk.tcss"
    TITLE = "rtsep"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS = [
        *(Binding(str(k), f"choose({k - 1})", show=False) for k in range(1, 10)),
        Binding("m", "mute", "mute"),
        Binding("s", "solo", "solo"),
        Binding("M", "none('mutes')", show=False),
        Binding("S", "none('solos')", show=False),
        Binding("b", "bypass", "bypass"),
        Binding("r", "record", "record"),
        Binding("p", "preset", "preset"),
        Binding("c", "model", "model"),
        Binding("question_mark", "help", "help", key_display="?"),
        Binding("x", "leave", "close desk"),
        Binding("q", "end", "end run"),
        Binding("ctrl+c,ctrl+q", "end_now", show=False, priority=True),
    ]

    def __init__(self, block: Block, link: socket.socket):
        # Said here and not by the theme alone: NO_COLOR is looked at now.
        super().__init__(ansi_color=True)
        self.register_theme(TERMINAL)
        self.theme = TERMINAL.name
        self.animation_level = "none"
        self._controls, self._block = Controls(block), block
        self._status = Status(self._block)
        self._socket, self._writer = link, None
        self._sealed = seal(self._block)
        self._hello: dict = {}
        self._log = MissLog(self._status.misses())
        self._taking: str | None = None
        self._taken = 0.0
        self._asked = -_TWICE
        self._heading, self._message = Heading(), Static(id="message")
        self._levels = {"input": Meter("in"), "output": Meter("out")}
        self._channels = [Channel(stem) for stem in self._controls.stems]
        self._master = Master()
        self._strips = Strips(*self._channels, self._master)
        self._latency, self._steps, self._misses = Latency(), Steps(), Misses()

    def compose(self) -> ComposeResult:
        yield self._heading
        yield Horizontal(*self._levels.values(), id="levels")
        with Horizontal(id="body"):
            yield self._strips
            yield Vertical(self._latency, self._steps, self._misses, id="panels")
        yield self._message
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self._describe()
        self._fast()
        self._slow()
        self._channels[0].fader.focus()
        self.set_interval(_FAST, self._fast)
        self.set_interval(_SLOW, self._slow)
        self.set_interval(_ALIVE, lambda: self._ask(alive=True))
        self._listen()

    # What is shown.

    def _fast(self) -> None:
        if seal(self._block) != self._sealed:
            self._sealed = seal(self._block)
            self._describe()
        c, status = self._controls, self._status
        levels, heard = dict(zip(c.stems, status.levels(), strict=False)), c.heard
        for channel in self._channels:
            stem = channel.stem
            if stem in levels:  # else it is of the model before, and goes in a moment
                channel.put(c.gains[stem], mute=c.mutes[stem], solo=c.solos[stem])
                channel.meter(levels[stem], heard[stem] != 0)
        self._master.put(c.wet, bypass=c.bypass)
        counts = status.counts()
        for (end, meter), peak in zip(self._levels.items(), status.peaks(), strict=True):
            meter.level, meter.clips = round(peak, 1), counts[f"clipped_{end}"]
        self._heading.tick(self._clock(), self._taking, self._taken)

    def _slow(self) -> None:
        at = int(self._block.i64[LAST_MISS]) / int(self._block.i64[RATE])
        self._log.update(self._status.misses(), at)
        self._misses.show(self._log)
        counts = self._block.i64[STEP_HISTOGRAM : STEP_HISTOGRAM + BINS].copy()
        limit = budget(self._block, self._controls.facts)
        self._steps.show(counts, self._status.steps(), limit)

    def _describe(self) -> None:
        """What the run is; also where it has become another."""
        facts = self._controls.facts
        self._heading.show(facts, self._hello)
        self._latency.show(facts)
        self._renew()

    @work(exclusive=True, group="strips")
    async def _renew(self) -> None:
        """As many strips as there are stems, where another model has others."""
        stems = self._controls.stems
        if stems == tuple(channel.stem for channel in self._channels):
            return
        before, self._channels = self._channels, [Channel(stem) for stem in stems]
        for channel in before:
            await channel.remove()
        await self._strips.mount_all(self._channels, before=self._master)
        self._strips.share()
        self._channels[0].fader.focus()

    def _say(self, text: str, style: str = "") -> None:
        self._message.update(Content.styled(text, style))

    # What is asked for.

    def on_fader_moved(self, event: Fader.Moved) -> None:
        channel = event.fader.parent
        if isinstance(channel, Master):
            self._controls.wet = event.value
        elif channel.stem in self._controls.stems:
            self._controls.gains[channel.stem] = event.value
        self._fast()

    def on_toggle_pressed(self, event: Toggle.Pressed) -> None:
        channel = event.toggle.parent.parent
        if isinstance(channel, Channel):
            channel.fader.focus()
            self._switch(event.toggle.kind, channel.stem)
        else:
            self.action_bypass()

    def action_choose(self, k: int) -> None:
        strips = [*self._channels, self._master]
        if k < len(strips):
            # At once: what is typed next is for this one.
            self.screen.set_focus(strips[k].fader)

    def action_nudge(self, steps: int) -> None:
        if isinstance(self.focused, Fader):
            self.focused.nudge(steps)

    def action_whole(self) -> None:
        if isinstance(self.focused, Fader):
            self.focused.whole()

    def action_mute(self) -> None:
        self._switch("mute", self._chosen())

    def action_solo(self) -> None:
        self._switch("solo", self._chosen())

    def action_none(self, kind: str) -> None:
        table = getattr(self._controls, kind)
        table.update(dict.fromkeys(table, False))
        self._fast()

    def action_bypass(self) -> None:
        self._controls.bypass = not self._controls.bypass
        self._fast()

    def action_record(self) -> None:
        self._ask(record=self._taking is None)

    def action_preset(self) -> None:
        names = presets.names()
        if names:
            self.push_screen(Choice("presets", names), self._recall)
        else:
            self._say(f"no presets yet: they are files in {presets.folder()}")

    def action_model(self) -> None:
        other = "or a checkpoint's file"
        self.push_screen(Choice("change the model", models.shipped(), other), self._change)

    def action_help(self) -> None:
        self.push_screen(Help())

    def action_leave(self) -> None:
        self.exit()

    def action_end(self) -> None:
        """The second time."""
        now = time.monotonic()
        if now - self._asked < _TWICE:
            self.action_end_now()
        else:
            self._say("q again ends the run; x closes the desk, and the run goes on", "bold")
            self._asked = now

    def action_end_now(self) -> None:
        self._ask(end=True)
        self._say("the run ends …", "bold")

    def _recall(self, name: str | None) -> None:
        if name is None:
            return
        try:
            preset, facts = presets.load(name), self._controls.facts
            preset.check_stems(facts["model"], tuple(facts["stems"]))
            self._controls.recall(preset.scene)
        except Failure as failure:
            self._say(str(failure), "bold ansi_red")
        else:
            self._say(f"{name}: the controls of this preset")

    def _change(self, model: str | None) -> None:
        if model is not None:
            self._ask(model=model)

    def _chosen(self) -> str | None:
        channel = self.focused.parent if isinstance(self.focused, Fader) else None
        return channel.stem if isinstance(channel, Channel) else None

    def _switch(self, kind: str, stem: str | None) -> None:
        if stem is None:
            self._say(f"{kind} is for stems: choose one with ← →")
            return
        table = self._controls.mutes if kind == "mute" else self._controls.solos
        if stem in table:  # else it went with its model, this moment
            table[stem] = not table[stem]
        self._fast()

    # The run.

    @work
    async def _listen(self) -> None:
        reader, self._writer = await asyncio.open_connection(sock=self._socket)
        self._ask(alive=True)
        lines = Lines()
        try:
            while data := await reader.read(1 << 14):
                for message in lines.feed(data):
                    self._hear(message)
        except OSError:
            pass
        self.exit()  # the run is over

    def _hear(self, message: dict) -> None:
        if "hello" in message:
            self._hello = message["hello"]
            self._describe()
        elif "taking" in message:
            self._taking, self._taken = message["taking"], message["seconds"]
        elif "notice" in message:
            self._say(f"{self._clock()}  {message['notice']}", "ansi_yellow")
        elif "done" in message:
            self._say(f"{self._clock()}  {message['done']}")
        elif "refused" in message:
            self._say(f"{self._clock()}  {message['refused']}", "bold ansi_red")

    def _clock(self) -> str:
        return clock(written(self._block.i64, CAPTURE) / int(self._block.i64[RATE]))

    def _ask(self, **request) -> None:
        if self._writer is not None:
            self._writer.write(line(**request))
