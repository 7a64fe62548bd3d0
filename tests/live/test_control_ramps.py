"""Every control, from Python, keys, OSC and MIDI: heard within a block and a ramp of 5 ms, without
a step above what the ramp allows; through the real callback, under a JACK server."""

import time

import numpy as np
import soundfile
from jack_card import WHY_NOT, needs_jack

from rtsep.live import layout
from rtsep.live.keys import Keys
from rtsep.live.midi.map import Binding, Map
from rtsep.live.options import Options
from rtsep.live.ring import written
from rtsep.live.scene import Scene

if WHY_NOT is None:
    from jack_runs import table, wait_for
    from midi_box import box
    from osc_client import Client

    from rtsep.live.ends import Ends
    from rtsep.live.midi.ports import choose, ports
    from rtsep.live.midi.surface import Surface
    from rtsep.live.opening import open_session
    from rtsep.live.osc import OscServer, bind

pytestmark = needs_jack
RATE, BLOCK, RAMP = 48000, 256, 240
SHARES = {"voice": 0.25, "background": 0.75}
MAP = Map(
    ("voice", "background"),
    (
        Binding("cc", 1, 1, "gain", "voice"),
        Binding("cc14", 1, 2, "gain", "background"),
        Binding("bend", 1, 0, "wet"),
        Binding("note", 1, 1, "mute", "voice"),
        Binding("note", 1, 2, "solo", "background"),
        Binding("cc", 1, 20, "bypass"),
        Binding("program", 1, 3, "preset", preset="soft"),
    ),
    soft=False,
)
SOFT = Scene({"voice": 0.5, "background": 0.25}, wet=0.5)


def soft(name):
    return SOFT


def by_python(c):
    yield lambda: c.gains.update({"background": 0.5})  # the first choice: the solo goes too
    yield lambda: c.mutes.update({"voice": True})
    yield lambda: c.solos.update({"voice": True})  # mute wins: nothing
    yield lambda: setattr(c, "wet", 0.25)
    yield lambda: setattr(c, "bypass", True)
    yield lambda: setattr(c, "bypass", False)
    yield lambda: c.recall(SOFT)


def by_keys(c):
    keys = Keys(c)
    keys.press("2")
    for key in ("s", "-", "m", "b", "b", "m", "0"):
        yield lambda key=key: keys.press(key)


def by_osc(client):
    for address, value in [
        ("gain/background", -9.0),
        ("mute/voice", 1),
        ("solo/background", 1),
        ("wet", 0.5),
        ("bypass", 1),
        ("bypass", 0),
        ("preset", "soft"),
    ]:
        yield lambda a=address, v=value: client.send(f"/rtsep/{a}", v)


def by_midi(there):
    for message in [
        [0xB0, 1, 20],
        [0xB0, 2, 60],
        [0x90, 1, 127],
        [0x90, 2, 127],
        [0xE0, 0, 32],
        [0xB0, 20, 127],
        [0xB0, 20, 127],
        [0xC0, 3],
    ]:
        yield lambda m=message: there.send(m)


def stand(c):
    """(wet, gains) that are heard."""
    return 0.0 if c.bypass else c.wet, c.heard


def level(wet, gains):
    """What the mixture is multiplied by: dry + wet · Σ (gain − 1) · stem."""
    return 1 + wet * sum((gain - 1) * SHARES[stem] for stem, gain in gains.items())


def reach(was, now):
    """The most that all ramps together can change that by, on the way from one to the other."""
    most = max(was[0], now[0])
    gains = sum(abs(now[1][stem] - was[1][stem]) * SHARES[stem] for stem in SHARES)
    far = max(sum(abs(gain - 1) * SHARES[stem] for stem, gain in x[1].items()) for x in (was, now))
    return most * gains + abs(now[0] - was[0]) * far


def walk(session, steps):
    """Does one after the other; (clock before, clock after, stand before, stand after) of each."""
    c, h, seen = session.controls, session.block.i64, []
    c.recall(Scene())
    begun = written(h, layout.CAPTURE)
    wait_for(lambda: written(h, layout.CAPTURE) > begun + 2000, 60)
    for step in steps:
        before, begun, was = c.scene, written(h, layout.CAPTURE), stand(c)
        step()
        wait_for(lambda before=before: c.scene != before, 60)
        scene = done = None
        while done is None or written(h, layout.CAPTURE) < done + 2000:
            if c.scene != scene:  # others write one after the other
                scene, done = c.scene, written(h, layout.CAPTURE)
            time.sleep(0.005)
        seen.append((begun, done, was, stand(c)))
    return seen


def test_every_control_from_everywhere(tmp_path):
    sound = np.full((90 * RATE, 1), 0.25, np.float32)
    options = Options(
        factory="quarter_model:plain", fade_up=0.0, queue=16 * BLOCK, record=tmp_path / "rec"
    )
    with table(BLOCK, sound, 1) as (_, (card,)), box() as there:
        ends = Ends(input=card.client.name, output=tmp_path / "heard.wav")
        with open_session(ends, options) as session:
            c = session.controls
            session.start()
            card.go()
            h, latency = session.block.i64, session.latency.internal
            wait_for(lambda: written(h, layout.CAPTURE) > 2 * latency + 4000, 60)
            seen = walk(session, by_python(c))
            seen += walk(session, by_keys(c))
            with OscServer(bind("0"), c, session.status, soft, session.swap) as server:
                seen += walk(session, by_osc(Client(server.address)))
            with Surface(MAP, c, soft, session.swap, port=choose("box", ports())):
                seen += walk(session, by_midi(there))
            last = level(*stand(c))
            summary = session.finish()
    heard = soundfile.read(tmp_path / "heard.wav", dtype="float64")[0]
    mix = soundfile.read(tmp_path / "rec" / "mix.wav", dtype="float64")[0]
    heard = heard[latency:][: len(mix)]
    there = np.flatnonzero(mix[: len(heard)] > 0.2)  # the server's own gaps are not ours
    factor = np.full(len(heard), np.nan)
    factor[there] = heard[there] / mix[there]
    assert len(seen) == 29 and not summary["errors"]
    smooth = not summary["misses"]["total"]
    for begun, done, was, now in seen:
        # In the time of the sound that is heard; a block that had begun may be ramped already.
        first, end = begun - latency - BLOCK, done - latency + BLOCK + RAMP
        part = factor[first - 10 : end + 200]
        steps = np.abs(np.diff(part))
        fade = 0 if smooth else np.pi  # of a miss, on top
        assert np.nanmax(steps) <= (1.001 * reach(was, now) + fade) / RAMP + 1e-6
        if smooth:
            assert np.nanmax(np.abs(part[:10] - level(*was))) < 1e-6
            assert np.nanmax(np.abs(part[-200:] - level(*now))) < 1e-6
            assert np.count_nonzero(steps > 1e-6) <= RAMP + BLOCK
    assert not smooth or abs(factor[there[-1]] - last) < 1e-6
