"""Sound files: what is written reads back; what is broken is said in one line."""

from __future__ import annotations

import os

import numpy as np
import pytest
import soundfile
from broken_files import BROKEN, PCM, wav
from hypothesis import given, settings
from hypothesis import strategies as st

from rtsep.audio import files
from rtsep.audio.files import Reader, Writer
from rtsep.errors import Failure


def sound(channels=2, samples=1000):
    return np.random.default_rng(0).standard_normal((channels, samples)).astype(np.float32)


def read(path, n=300):
    with Reader(path) as reader:
        return np.concatenate(list(reader.blocks(n)), axis=1)


@pytest.mark.parametrize("n", [1, 300, 5000])
def test_what_is_written_reads_back(tmp_path, n):
    x = sound()
    with Writer(tmp_path / "x.wav", 44100, 2) as writer:
        for begin in range(0, 1000, n):
            writer.write(x[:, begin : begin + n])
    with Reader(tmp_path / "x.wav") as reader:
        assert (reader.rate, reader.channels, reader.frames) == (44100, 2, 1000)
        blocks = list(reader.blocks(n))
        again = list(reader.blocks(n))  # from the beginning
    assert np.array_equal(np.concatenate(blocks, axis=1), x)
    assert np.array_equal(np.concatenate(again, axis=1), x)
    assert all(block.dtype == np.float32 and block.shape[1] <= n for block in blocks)
    assert soundfile.info(tmp_path / "x.wav").subtype == "FLOAT"


@pytest.mark.parametrize("format", ["FLAC", "AIFF", "OGG", "W64", "CAF", "WAVEX", "RF64"])
def test_other_formats_are_read(tmp_path, format):
    path = tmp_path / f"x.{format.lower()}"
    soundfile.write(path, sound().T * 0.1, 48000, format=format)
    assert read(path).shape == (2, 1000)


def test_a_file_has_its_name_only_when_it_is_complete(tmp_path):
    path = tmp_path / "x.wav"
    with Writer(path, 16000, 2) as writer:
        writer.write(sound())
        assert not path.exists() and len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [Failure, KeyboardInterrupt, ValueError])
def test_nothing_is_left_after_an_error(tmp_path, error):
    with pytest.raises(error), Writer(tmp_path / "x.wav", 16000, 2) as writer:
        writer.write(sound())
        raise error("no more")
    assert list(tmp_path.iterdir()) == []


def test_existing_files_are_kept_unless_told(tmp_path):
    path = tmp_path / "x.wav"
    path.write_bytes(b"precious")
    with pytest.raises(Failure, match="exists already"):
        Writer(path, 16000, 2)
    with Writer(path, 16000, 2, overwrite=True) as writer:
        writer.write(sound())
        assert path.read_bytes() == b"precious"
    assert read(path).shape == (2, 1000)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_appears_meanwhile_is_kept(tmp_path):
    path = tmp_path / "x.wav"
    with pytest.raises(Failure, match="exists already"), Writer(path, 16000, 2) as writer:
        writer.write(sound())
        path.write_bytes(b"precious")
    assert path.read_bytes() == b"precious" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_folder_is_never_replaced(tmp_path, overwrite):
    with pytest.raises(Failure, match="is a folder"):
        Writer(tmp_path, 16000, 2, overwrite=overwrite)


def test_places_that_cannot_be_written_are_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "none" / "x.wav", tmp_path / "file" / "x.wav"):
        with pytest.raises(Failure, match="x.wav: no"):  # no such file, not a directory
            Writer(path, 16000, 1)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_limit_on_size_is_a_failure_and_leaves_nothing(tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(Failure, match="x.wav: file too large"):
            with Writer(tmp_path / "x.wav", 16000, 2) as writer:
                for _ in range(10):
                    writer.write(sound())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_beyond_four_gigabytes_it_is_an_rf64(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_WAV_BYTES", 4000)
    with Writer(tmp_path / "long.wav", 16000, 2, frames=1000) as writer:
        writer.write(sound())
    assert soundfile.info(tmp_path / "long.wav").format == "RF64"
    assert np.array_equal(read(tmp_path / "long.wav"), sound())
    with pytest.raises(Failure, match="4 GiB"), Writer(tmp_path / "x.wav", 16000, 2) as writer:
        writer.write(sound())
    assert not (tmp_path / "x.wav").exists()


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_refused_in_one_line(tmp_path, case):
    content, said = BROKEN[case]
    path = tmp_path / "broken.wav"
    path.write_bytes(content)
    with pytest.raises(Failure, match=said) as failure:
        read(path)
    assert "broken.wav: " in str(failure.value) and "\n" not in str(failure.value)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_damage_raises_anything_else(tmp_path_factory, data):
    """Bytes changed anywhere in a small file: it is read, or refused; nothing else happens."""
    format = data.draw(st.sampled_from(["WAV", "FLAC", "AIFF", "RF64", "CAF"]))
    path = tmp_path_factory.getbasetemp() / f"damaged.{format.lower()}"
    soundfile.write(path, sound(1, 200).T * 0.1, 16000, format=format)
    content = bytearray(path.read_bytes())
    places = st.integers(0, min(len(content) - 1, 100))
    for place, byte in data.draw(st.dictionaries(places, st.integers(0, 255), max_size=6)).items():
        content[place] = byte
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        assert read(path).shape[1] > 0
    except Failure as failure:
        assert "\n" not in str(failure)


def test_cut_compressed_files_are_refused(tmp_path):
    for format in ("FLAC", "AIFF"):
        path = tmp_path / f"x.{format.lower()}"
        soundfile.write(path, sound(2, 40_000).T * 0.1, 48000, format=format)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(Failure, match="cut short|damaged|can be read"):
            read(path)


def test_a_stream_of_unknown_length_is_read(tmp_path):
    """What a program writes to a pipe has no length in its header."""
    path = tmp_path / "piped.wav"
    path.write_bytes(wav(PCM, declared=2**32 - 1))
    assert read(path).shape == (1, 1000)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_with_its_place(tmp_path, bad):
    x = sound()
    x[1, 777] = bad
    soundfile.write(tmp_path / "x.wav", x.T, 16000, subtype="FLOAT")
    with pytest.raises(Failure, match="x.wav: sample 777"):
        read(tmp_path / "x.wav")


def test_paths_that_are_no_files_are_refused(tmp_path):
    with pytest.raises(Failure, match="no such file"):
        Reader(tmp_path / "none.wav")
    with pytest.raises(Failure, match="is a folder"):
        Reader(tmp_path)
    with pytest.raises(Failure):
        Reader(tmp_path / "a\0b.wav")
    (tmp_path / "x.raw").write_bytes(PCM)
    with pytest.raises(Failure, match="can be read"):
        Reader(tmp_path / "x.raw")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.wav")
        with pytest.raises(Failure, match="no regular file"):
            Reader(tmp_path / "pipe.wav")
