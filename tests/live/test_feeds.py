"""Sources and sinks of the simulated clock."""

import numpy as np
import pytest
import soundfile
import soxr

from rtsep.errors import Failure
from rtsep.live.feeds import Array, FileSink, FileSource


def noise(n, channels):
    return np.random.default_rng(1).normal(0, 0.1, (n, channels)).astype(np.float32)


def drain(source, n):
    parts = []
    while len(part := source.read(n)) == n:
        parts.append(part)
    assert len(source.read(n)) == 0
    return np.concatenate([*parts, part])


@pytest.mark.parametrize("n", [64, 1000, 100_000])
def test_file(n, tmp_path):
    x = noise(50_001, 2)
    soundfile.write(tmp_path / "a.wav", x, 16000, "FLOAT")
    source = FileSource(tmp_path / "a.wav")
    assert (source.rate, source.channels) == (16000, 2)
    assert np.array_equal(drain(source, n), x)
    source.close()


def test_resampled(tmp_path):
    x = noise(30_000, 1)
    soundfile.write(tmp_path / "a.wav", x, 44100, "FLOAT")
    source = FileSource(tmp_path / "a.wav", 16000)
    y = drain(source, 512)
    source.close()
    whole = soxr.resample(x, 44100, 16000)
    assert abs(len(y) - len(whole)) <= 1
    n = min(len(y), len(whole))
    assert np.abs(y[:n] - whole[:n]).max() < 1e-3


def test_closing_early_ends_the_reader(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(500_000), 8000)
    source = FileSource(tmp_path / "a.wav")
    source.read(10)
    source.close()


def test_what_reading_raises_arrives(tmp_path):
    x = np.zeros(100_000, np.float32)
    x[90_000] = np.nan
    soundfile.write(tmp_path / "a.wav", x, 8000, "FLOAT")
    source = FileSource(tmp_path / "a.wav")
    with pytest.raises(Failure, match="a.wav"):
        drain(source, 640)
    source.close()


def test_sink(tmp_path):
    x = noise(30_000, 2)
    sink = FileSink(tmp_path / "o.wav", 48000, 2)
    for k in range(0, len(x), 64):
        sink.write(x[k : k + 64])
    assert not (tmp_path / "o.wav").exists()
    sink.finish()
    sink.close()
    assert np.array_equal(soundfile.read(tmp_path / "o.wav", dtype="float32")[0], x)


def test_sink_that_is_not_finished_leaves_nothing(tmp_path):
    sink = FileSink(tmp_path / "o.wav", 48000, 2)
    sink.write(noise(10_000, 2))
    sink.close()
    assert not list(tmp_path.iterdir())


def test_array():
    x = noise(1000, 3)
    assert np.array_equal(drain(Array(x), 64), x)
