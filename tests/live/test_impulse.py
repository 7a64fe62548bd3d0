"""What the latency table says is what an impulse through the real path measures."""

import numpy as np
import pytest
from live_runs import assert_sums_to_mix, late, run

from rtsep.live.session import Options

PERFECT = "quarter_model:build"
PASS_BAND = 0.42 * 16000


@pytest.mark.parametrize("rate", [16000, 44100, 48000, 96000])
@pytest.mark.parametrize("blocks", [64, 100, (64, 1, 37, 128, 250)], ids=["64", "100", "varying"])
def test_impulse(rate, blocks, tmp_path):
    """A quarter of the impulse comes back where the table says, and cancels to −60 dB."""
    x = np.zeros((rate // 2, 1), np.float32)
    at = rate // 5 + 7
    x[at] = 1
    options = Options(factory=PERFECT, blocks=blocks, paced=False, solo=("voice",), record=tmp_path)
    r = run(x, rate, options)
    assert r.summary["misses"] == {"total": 0, "causes": {}}
    assert r.heard.shape == (len(x) + r.latency, 1)
    y = r.heard[:, 0]
    assert np.abs(y).argmax() == at + r.latency == at + r.summary["latency"]["internal"]
    dry = r.files["mix"]
    assert np.array_equal(dry, late(x, r.latency))
    low = np.fft.rfftfreq(len(y), 1 / rate) <= PASS_BAND
    residue = np.fft.rfft(y - 0.25 * dry[:, 0])[low]
    assert np.abs(residue).max() < 0.25 * 1e-3
    assert np.abs(r.files["voice"][:, 0] - y).max() < 1e-6
    assert_sums_to_mix(r.files)


def test_nothing_asked_is_the_primary_stem_and_all_is_dry():
    x = np.random.default_rng(3).normal(0, 0.1, (16000, 2)).astype(np.float32)
    heard = run(x, 16000, Options(factory=PERFECT, paced=False))
    assert np.abs(heard.heard - 0.25 * late(x, heard.latency)).max() < 1e-6
    dry = run(x, 16000, Options(factory=PERFECT, paced=False, gains={"voice": 1.0}))
    assert np.array_equal(dry.heard, late(x, dry.latency))


def test_the_chunk_is_taken():
    """A larger chunk is later by what the table says."""
    x = np.zeros((16000, 1), np.float32)
    x[5000] = 1
    r = run(x, 16000, Options(factory=PERFECT, paced=False, chunk=256, blocks=160))
    assert r.summary["chunk"] == 256
    assert r.summary["latency"]["rebuffer"] == 256 - 32
    assert np.abs(r.heard).argmax() == 5000 + r.latency


def test_limit_and_queue():
    x = np.ones((48000, 1), np.float32)
    r = run(x, 48000, Options(factory=PERFECT, paced=False, limit=12345, queue=640))
    assert r.summary["latency"]["queue"] == 640
    assert len(r.heard) == 12345 + r.latency
