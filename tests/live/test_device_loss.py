"""A device that goes away and comes back, with real parts: a JACK server that is killed, and
started again, while `rtsep run` is under way."""

import re
import signal

import numpy as np
import pytest
from card_process import CardProcess
from jack_card import Server, needs_jack
from live_runs import assert_sums_to_mix, recorded
from test_jack_command import QUARTER, late, run

from rtsep.cli.main import app
from rtsep.errors import WrongCall

pytestmark = needs_jack
RATE = 48000
PERIOD = 256
LENGTH = 1 << 19  # samples of the card's sound, before it begins again


@pytest.fixture
def shop(tmp_path):
    with Server(PERIOD) as server:
        shop = Shop(server, tmp_path)
        yield shop
        shop.card.kill()


class Shop:
    """A server and its card, which die together and come back under the same names."""

    def __init__(self, server, folder):
        self.server, self._folder = server, folder
        self.sound = np.random.default_rng(7).normal(0, 0.05, (LENGTH, 1)).astype("f4")
        self._open()

    def close(self):
        for process in (self.card, self.server.process):
            process.kill()
        self.server.process.wait()

    def open_again(self):
        assert any(self.server._start(self.server.name, option) for option in ("-R", "-r"))
        self._open()

    def _open(self):
        self.card = CardProcess(self.server, "card", self.sound, 1, self._folder)


def until(process, words):
    """Reads on to the line with these words."""
    for line in process.stdout:
        if words in line:
            return line
    raise AssertionError(process.stderr.read())


def grown(path, seconds):
    """Waits until a recording is so much longer."""
    from jack_runs import wait_for

    begin = path.stat().st_size
    wait_for(lambda: path.stat().st_size > begin + seconds * 4 * RATE, 60)


@pytest.mark.parametrize("clocks", ["one", "two"])
def test_a_server_that_dies_and_comes_back(clocks, shop, tmp_path):
    """The run goes on, and so does its recording; back, the card is heard through it again, and
    what is dry is as late as before, in the recording and in the card's ears."""
    ends = ["--input", "card", "--output", "card", "--clocks", clocks, "--record", tmp_path / "rec"]
    mix = tmp_path / "rec" / "mix.wav"
    with run(*QUARTER, *ends, "--gain", "voice=0dB") as (process, said):
        total = late(said, "total")
        assert ("clocks" in said) == (clocks == "two")
        grown(mix, 0.5)
        shop.close()
        lost = until(process, "was it unplugged")
        grown(mix, 1.0)
        shop.open_again()
        back = until(process, "is back, after")
        grown(mix, 2.0)
        heard = shop.card.heard()[:, 0]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "the run goes on on a simulated clock until it is back" in lost
    assert re.search(r"^without its device 1 times, \d+\.\d s in all", out, re.M)
    files = recorded(tmp_path / "rec")
    assert_sums_to_mix(files)
    sound = files["mix"][:, 0]
    gone, there = (round(RATE * float(re.search(r"after ([\d.]+) s", t)[1])) for t in (lost, back))
    # Times are told to a tenth of a second; away, all is silent.
    assert np.abs(sound[: gone - RATE // 5]).mean() > 0.01
    assert not sound[gone + RATE // 5 : there - RATE // 5].any()
    # A device's first second rises, at the output; what is recorded is there after 5 ms.
    part = sound[there + RATE // 2 :][: RATE // 4]
    where = place(part, shop.sound)
    played = shop.sound[(where + np.arange(len(part))) % LENGTH, 0]
    at = len(heard) - RATE // 4
    late_by = (at - place(heard[at:], shop.sound) - total - PERIOD) % LENGTH
    if clocks == "one":
        assert np.count_nonzero(part == played) > 0.9 * len(part)
        assert late_by == 0
    else:
        assert min(late_by, LENGTH - late_by) <= PERIOD


def place(x, sound):
    """Where in `sound`, which goes round, x begins: by its correlation."""
    spectrum = np.fft.rfft(sound[:, 0]) * np.conj(np.fft.rfft(x[:8192], LENGTH))
    return int(np.fft.irfft(spectrum).argmax())


def test_it_can_be_ended_meanwhile(shop, tmp_path):
    ends = ["--input", "card", "--output", "card", "--record", tmp_path / "rec"]
    with run(*QUARTER, *ends) as (process, _):
        grown(tmp_path / "rec" / "mix.wav", 0.3)
        shop.close()
        until(process, "was it unplugged")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "") and "ended by Ctrl-C" in out
    assert_sums_to_mix(recorded(tmp_path / "rec"))


def test_a_wrong_word():
    call = ["run", *QUARTER, "--input", "demo", "--output", "none", "--on-device-loss", "wait"]
    with pytest.raises(WrongCall, match="--on-device-loss wait: go-on or stop"):
        app(call, standalone_mode=False)
