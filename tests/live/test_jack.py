"""Runs on a real JACK server: what comes out is late by what the table says, to the sample.

The sound card is a client of the server. Where it is one client for both directions, the server
breaks the loop through it by handing over what it hears a period later; a microphone and a
loudspeaker of their own have no such loop, and then the table is all there is.
"""

import os
import signal
import time

import numpy as np
import pytest
from jack_card import WHY_NOT, needs_jack
from live_runs import assert_sums_to_mix

from rtsep.live.options import Options

if WHY_NOT is None:
    from jack_runs import assert_same, play, wait_for

pytestmark = needs_jack
RATE = 48000
PERFECT = "quarter_model:build"


def noise(seconds=0.4, channels=1, seed=4):
    """Soft noise, an impulse in its first channel, and silence around it."""
    x = np.random.default_rng(seed).normal(0, 0.02, (int(seconds * RATE), channels))
    x = x.astype(np.float32)
    x[9000:13000] = 0
    x[11111, 0] = 0.75
    return x


def options(**changes):
    """The mix on the first output, bit for bit the input, and voice alone on the second."""
    plain = {"factory": PERFECT, "routes": {"mix": (0,), "voice": (1,)}, "fade_up": 0.0}
    return Options(**plain | changes)


def check(played, x, extra=0):
    """The mix is x, late by the table's total and what the connection adds; voice has an impulse of
    a quarter there, unless its block was a counted miss."""
    late = played.latency.total + extra
    mix, voice = played.heard[late : late + len(x)].T
    assert_same(mix, x[:, 0], played, late)
    assert not played.heard[:late, 0].any()
    assert played.summary["device"]["compiled_callback"] and not played.summary["errors"]
    misses = played.summary["misses"]["total"]
    if not misses and not played.summary["xruns"]:
        assert np.abs(voice[9500:12500]).argmax() + 9500 == 11111
        low = np.fft.rfftfreq(3000, 1 / RATE) <= 0.42 * 16000
        residue = np.fft.rfft(voice[9500:12500] - 0.25 * x[9500:12500, 0])[low]
        assert np.abs(residue).max() < 0.25 * 0.75 * 1e-3
    return misses


@pytest.mark.parametrize("block", [64, 128, 256, 1024])
@pytest.mark.parametrize("ratio", [1, 0.5, 2], ids=["equal", "half", "twice"])
def test_latency(block, ratio):
    """The server's period is the block, half of it, and twice it."""
    period, x = int(block * ratio), noise()
    played = play(period, x, options(blocks=block), sinks=2)
    latency = played.latency
    check(played, x, extra=period)
    assert latency.told and latency.block == block
    assert latency.delivery == max(block, period)
    # PortAudio holds back a block where the host has another size; 2048 it cuts in two itself.
    own = min(period, 1024) == block
    assert (latency.device_in, latency.device_out) == (0, 0 if own else block)
    if block == 64:
        share = played.summary["callback_ms"]["p50"] / (64 / 48)
        assert share < 0.05, f"the callback takes {100 * share:.1f} % of a block"


def test_the_host_chooses_the_block():
    played = play(512, noise(), options(), sinks=2)
    check(played, noise(), extra=512)
    assert played.latency.block == 512 and played.latency.device_out == 0


def test_a_microphone_and_a_loudspeaker_of_one_host_api():
    """Two devices, one stream; nothing but the table is between them."""
    x = noise()
    played = play(128, x, options(), sinks=2, apart=True)
    check(played, x)


def test_blocks_that_do_not_fit_the_period():
    """100 in 256: two or three at once, and the deadline is for three."""
    x = noise()
    played = play(256, x, options(blocks=100), sinks=2)
    misses = check(played, x, extra=256)
    assert played.latency.delivery == 300
    assert "delivery grown" not in played.summary["misses"]["causes"] or misses


@pytest.mark.parametrize("period, block", [(128, 128), (64, 256), (1024, None)])
def test_free_clock_never_misses(period, block, tmp_path):
    """With a server that waits, every sample is there, the recording's too."""
    x = noise(1.0)
    played = play(
        period, x, options(blocks=block, paced=False, record=tmp_path), sinks=2, free=True
    )
    assert played.summary["misses"] == {"total": 0, "causes": {}}
    check(played, x, extra=period)
    assert_sums_to_mix(played.files)
    heard = played.heard[np.flatnonzero(played.heard[:, 0])[0] :]
    mix, voice = played.files["mix"][:, 0], played.files["voice"][:, 0]
    begin = np.flatnonzero(mix)[0]
    assert np.array_equal(heard[: len(x), 1], voice[begin : begin + len(x)])


def test_channels_and_routes():
    """The microphone's second channel, on the third of four outputs, and silence on the others."""
    x = noise(channels=2)
    changes = {"routes": {"mix": (2,)}, "gains": {"voice": 1.0}}
    played = play(256, x, options(**changes), sinks=4, ends={"channels": (1,)})
    late = played.latency.total + 256
    assert_same(played.heard[late : late + len(x), 2], x[:, 1], played, late)
    assert not played.heard[:, [0, 1, 3]].any()


def test_python_callbacks_where_there_is_no_other_way(monkeypatch):
    """As with a version of sounddevice that takes Python functions only."""
    import sounddevice

    base = sounddevice._StreamBase
    whole = base.__init__

    def python_only(self, kind, *, wrap_callback=None, userdata=None, **options):
        if wrap_callback is None:
            raise TypeError("unexpected keyword argument 'wrap_callback'")
        whole(self, kind, wrap_callback=wrap_callback, **options)

    monkeypatch.setattr(base, "__init__", python_only)
    x = noise()
    played = play(1024, x, options(), sinks=2)
    late = played.latency.total + 1024
    assert_same(played.heard[late : late + len(x), 0], x[:, 0], played, late)
    assert not played.summary["device"]["compiled_callback"]
    assert "Python is in its way" in " ".join(played.said)


def test_from_a_file_to_the_card_and_back(tmp_path):
    """A file in place of the microphone, and one in place of the loudspeaker."""
    import soundfile

    x = noise(channels=2)
    soundfile.write(tmp_path / "in.wav", x, RATE, "FLOAT")
    silence = np.zeros((len(x), 1), np.float32)
    changes = {"routes": {}, "gains": {"voice": 1.0}}
    ends = {"input": tmp_path / "in.wav", "duration": None}
    played = play(256, silence, options(**changes), sinks=2, ends=ends)
    begin = np.flatnonzero(played.heard[:, 0])[0]
    heard = played.heard[begin : begin + len(x)]
    assert_same(heard, x[: len(heard)], played, played.latency.total)
    ends = {"output": tmp_path / "out.wav"}
    played = play(256, x, options(**changes), sinks=2, ends=ends)
    y, rate = soundfile.read(tmp_path / "out.wav", dtype="float32", always_2d=True)
    begin = np.flatnonzero(y[:, 0])[0]
    assert rate == RATE
    assert_same(y[begin : begin + len(x)], x, played, played.latency.total)
    assert len(y) == round((len(x) / RATE + 0.25) * RATE) + played.latency.internal


@pytest.mark.parametrize("fate", ["killed", "stopped and continued"])
def test_a_worker_that_fails(fate):
    """The mix is not touched; voice stops without a click, and returns where it can."""
    x = noise(1.2)

    def strike(session, cards):
        wait_for(lambda: cards[0].played > 0.3 * RATE)
        if fate == "killed":
            os.kill(session.process.pid, signal.SIGKILL)
            return
        os.kill(session.process.pid, signal.SIGSTOP)
        time.sleep(0.2)
        os.kill(session.process.pid, signal.SIGCONT)

    played = play(128, x, options(), sinks=2, meanwhile=strike)
    late = played.latency.total + 128
    mix, voice = played.heard[late : late + len(x)].T
    assert_same(mix, x[:, 0], played, late)
    causes = played.summary["misses"]["causes"]
    assert np.abs(voice[9500:12500]).argmax() + 9500 == 11111 or causes
    gone = voice[int(0.38 * RATE) : int(0.45 * RATE)]
    assert not gone.any()
    if fate == "killed":
        assert "worker dead" in causes and not played.summary["errors"]
    else:
        assert "worker late" in causes and not played.summary["errors"]
        after = slice(int(0.9 * RATE), None)
        assert np.abs(voice[after]).mean() > 0.1 * np.abs(x[after, 0]).mean()


def test_a_period_that_grows_is_named_and_advised():
    x = noise(1.0)

    def grow(session, cards):
        wait_for(lambda: cards[0].played > 0.2 * RATE)
        cards[0].client.blocksize = 2048

    played = play(64, x, options(blocks=64, queue=128), sinks=2, meanwhile=grow)
    assert played.summary["misses"]["causes"]["delivery grown"] > 3
    [advice] = played.summary["advice"]
    assert "2048 samples at once" in advice and "--queue 2048" in advice
