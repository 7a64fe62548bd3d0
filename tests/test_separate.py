"""From array to stems and from file to files: aligned, whole, and the same as a stream."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from small_separator import save_model, sound, write

import rtsep
from rtsep import offline
from rtsep.errors import Failure, WrongCall
from rtsep.pipeline import Pipeline, build


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("separate")


@pytest.fixture
def path(small_path):
    return small_path


def separate(*arguments, code=0):
    """The command in a process of its own; returns (stdout, stderr)."""
    done = subprocess.run(
        [sys.executable, "-m", "rtsep", "separate", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


@pytest.mark.parametrize(
    "engine,chunk,channels",
    [("eager", None, 2), ("onnxruntime", None, 1), ("native", 192, 2)],
)
def test_it_is_what_the_network_gives_offline(path, engine, chunk, channels):
    model = rtsep.load(path)
    x = sound(channels, 20_011, 16_000)
    stems = rtsep.separate(x, 16_000, path, engine=engine, chunk=chunk)
    expected = model.separate(torch.from_numpy(x)[:, None])[:, :, 0].transpose(0, 1).numpy()
    assert list(stems) == ["voice", "background"]
    for stem, known in zip(stems.values(), expected, strict=True):
        assert stem.shape == x.shape and stem.dtype == np.float32
        assert np.abs(stem - known).max() < 1e-5 * np.abs(known).max()


def test_one_dimension_in_is_one_dimension_out(path):
    x = sound(1, 5000, 16_000)
    flat, rows = rtsep.separate(x[0], 16_000, path), rtsep.separate(x, 16_000, path)
    assert all(np.array_equal(flat[stem], rows[stem][0]) for stem in rows)


def test_a_model_in_memory_will_do(path):
    x = sound(1, 5000, 16_000)
    there = rtsep.separate(x, 16_000, path, engine="eager")
    here = rtsep.separate(x, 16_000, rtsep.load(path), engine="eager")
    assert all(np.array_equal(there[stem], here[stem]) for stem in there)


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100, 48_000, 96_000, 44_101])
def test_any_rate_and_the_stems_sum_to_the_mixture(path, rate):
    x = sound(2, rate // 3 + 7, rate)
    stems = rtsep.separate(x, rate, path)
    assert all(stem.shape == x.shape for stem in stems.values())
    assert np.abs(sum(stems.values()) - x).max() < 1e-6


def test_shorter_than_a_chunk(path):
    for samples in (1, 5, 63, 64, 65):
        x = sound(1, samples, 16_000)
        stems = rtsep.separate(x, 16_000, path)
        assert np.allclose(sum(stems.values()), x, atol=1e-6)


def test_a_stereo_model(folder):
    save_model(folder / "stereo.safetensors", channels=2)
    pair = np.repeat(sound(1, 8000, 16_000), 2, axis=0)
    model = folder / "stereo.safetensors"
    mono = rtsep.separate(pair[:1], 16_000, model, engine="eager")
    stereo = rtsep.separate(pair, 16_000, model, engine="eager")
    for stem in mono:
        mean = stereo[stem].mean(axis=0) if stem == "voice" else pair[0] - mono["voice"][0]
        assert np.allclose(mono[stem][0], mean, atol=1e-6)
    with pytest.raises(WrongCall, match="3 channels"):
        rtsep.separate(sound(3, 100, 16_000), 16_000, model)


@pytest.mark.parametrize(
    "mixture,rate,said",
    [
        (np.zeros((1, 0), np.float32), 16_000, "no samples"),
        (np.zeros((1, 2, 3), np.float32), 16_000, "shape"),
        (np.zeros((1, 99), np.int16), 16_000, "floating point"),
        (np.array([[0, np.nan]]), 16_000, "NaN"),
        (np.array([[0, np.inf]]), 16_000, "NaN"),
        (np.zeros((1, 99)), 0, "0 Hz"),
        (np.zeros((1, 99)), 10**9, "Hz"),
        (np.zeros((0, 99)), 16_000, "0 channels"),
    ],
)
def test_arrays_that_are_no_mixture_are_refused(path, mixture, rate, said):
    with pytest.raises(WrongCall, match=said):
        rtsep.separate(mixture, rate, path)


def test_unknown_models_engines_and_chunks_are_refused(path):
    x = sound(1, 100, 16_000)
    for options, said in (
        (dict(model="nothing"), "nothing"),
        (dict(model=path, engine="steam"), "steam"),
        (dict(model=path, chunk=63), "multiples"),
    ):
        with pytest.raises(WrongCall, match=said):
            rtsep.separate(x, 16_000, **options)


@pytest.mark.parametrize("rate,channels", [(44_100, 2), (16_000, 1)])
def test_a_file_gives_the_same_as_an_array(folder, path, rate, channels, monkeypatch):
    monkeypatch.setattr(offline, "_BLOCK", 1000)  # cut another way
    x = sound(channels, 30_000, rate)
    file = write(folder / f"in{rate}.wav", x, rate)
    pipeline = build(path, rate, channels)
    read = []
    targets = offline.separate_file(file, folder / f"out{rate}", pipeline, progress=read.append)
    monkeypatch.undo()
    stems = rtsep.separate(x, rate, path)
    assert sum(read) == 30_000
    for stem, target in targets.items():
        assert target == folder / f"out{rate}" / f"{stem}.wav"
        y, out_rate = soundfile.read(target, dtype="float32", always_2d=True)
        assert out_rate == rate and np.array_equal(y.T, stems[stem])
    with pytest.raises(Failure, match="exists already"):
        offline.separate_file(file, folder / f"out{rate}", pipeline)
    with pytest.raises(WrongCall, match="the pipeline takes"):
        offline.separate_file(file, folder / "x", build(path, 48_000, channels))
    assert not (folder / "x").exists()


def test_memory_does_not_grow_with_the_file(folder, path, monkeypatch):
    import tracemalloc

    pipeline = build(path, 16_000, 1, engine="onnxruntime")
    peaks = []
    for seconds in (5, 20):
        file = write(folder / f"{seconds}s.wav", sound(1, 16_000 * seconds, 16_000), 16_000)
        tracemalloc.start()
        offline.separate_file(file, folder / f"{seconds}s", pipeline)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_a_model_that_gives_nan_is_a_failure_and_leaves_nothing(folder, path):
    file = write(folder / "nan.wav", sound(1, 3000, 16_000), 16_000)

    class Broken:
        def __init__(self, engine):
            self.spec, self.reset, self.close = engine.spec, engine.reset, engine.close

        def process(self, mixture, stems, active=None):
            stems[...] = np.nan

    pipeline = Pipeline(Broken(build(path, 16_000, 1).engine), 16_000, 1)
    with pytest.raises(Failure, match="nan.wav: the model gave NaN"):
        offline.separate_file(file, folder / "deep" / "nan", pipeline)
    assert not (folder / "deep").exists()


def test_the_command(folder, path, tmp_path):
    a = write(tmp_path / "a.one.wav", sound(2, 9000, 44_100), 44_100)
    b = tmp_path / "b.flac"
    soundfile.write(b, sound(1, 5000, 16_000).T, 16_000)
    out, _ = separate(a, b, "--model", path, "--out", tmp_path / "out", "--json")
    said = json.loads(out)
    assert [file["input"] for file in said["files"]] == [str(a), str(b)]
    assert (said["engine"], said["engine_reason"]) == ("native", "the default")
    assert said["precision"] == "float32" and said["chunk"] == 64
    for file, (rate, channels, frames) in zip(
        said["files"], [(44_100, 2, 9000), (16_000, 1, 5000)], strict=True
    ):
        for stem, target in file["stems"].items():
            assert Path(target).parts[-2:] == (Path(file["input"]).stem, f"{stem}.wav")
            info = soundfile.info(target)
            assert (info.samplerate, info.channels, info.frames) == (rate, channels, frames)
            assert info.subtype == "FLOAT"
    x, _ = soundfile.read(a, dtype="float32", always_2d=True)
    voice, _ = soundfile.read(tmp_path / "out" / "a.one" / "voice.wav", dtype="float32")
    assert np.array_equal(voice.T, rtsep.separate(x.T, 44_100, path)["voice"])

    # Again: what is there is kept, unless told.
    before = {p: p.read_bytes() for p in (tmp_path / "out").rglob("*.wav")}
    out, error = separate(b, "--model", path, "--out", tmp_path / "out", code=1)
    assert "exists already" in error and out == "" and error.count("\n") == 1
    assert {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()} == before
    out, error = separate(b, "--model", path, "--out", tmp_path / "out", "--overwrite")
    assert out.splitlines() == [
        str(tmp_path / "out" / "b" / f"{s}.wav") for s in ("voice", "background")
    ]
    assert error == "rtsep: small on native in float32 (the default)\n"


def test_two_inputs_of_one_name_are_refused_before_anything_is_written(path, tmp_path):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "same.wav", sound(1, 1000, 16_000), 16_000)
    inputs = [tmp_path / name / "same.wav" for name in ("x", "y")]
    _, error = separate(*inputs, "--model", path, "--out", tmp_path / "out", code=1)
    assert "both be written" in error and not (tmp_path / "out").exists()
    separate(*inputs, "--model", path, "--out", tmp_path / "out", "--overwrite")
    assert len(list((tmp_path / "out" / "same").iterdir())) == 2


def test_an_input_is_never_written_over(path, tmp_path):
    (tmp_path / "voice").mkdir()
    file = write(tmp_path / "voice" / "voice.wav", sound(1, 1000, 16_000), 16_000)
    before = file.read_bytes()
    _, error = separate(file, "--model", path, "--out", tmp_path, "--overwrite", code=1)
    assert "is an input" in error and file.read_bytes() == before
    assert len(list(tmp_path.rglob("*.wav"))) == 1


def test_a_cached_engine_needs_no_torch(path, tmp_path):
    file = write(tmp_path / "x.wav", sound(1, 1000, 16_000), 16_000)
    rtsep.separate(sound(1, 100, 16_000), 16_000, path)  # builds it
    code = (
        "import sys; from rtsep.cli.separate import command; from pathlib import Path;"
        f"command([Path({str(file)!r})], Path({str(tmp_path)!r}), {str(path)!r});"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ), timeout=60)


def test_a_folder_that_cannot_be_made_is_a_failure(path, tmp_path):
    file = write(tmp_path / "x.wav", sound(1, 1000, 16_000), 16_000)
    pipeline = build(path, 16_000, 1)
    for folder in (file, file / "below"):
        with pytest.raises(Failure, match="older|directory"):
            offline.separate_file(file, folder, pipeline)
