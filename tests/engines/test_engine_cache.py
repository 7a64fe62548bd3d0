"""The cache: never a damaged entry, never half of one, never torch where it has what is needed."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest
from engine_models import make, run, sound

import rtsep.checkpoints
from rtsep import engines
from rtsep.engines import cache

KEY = "0" * 64
PARTS = {"step.onnx": b"\x00\n\xff" * 1000, "state.json": b"[]", "empty": b""}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RTSEP_CACHE_DIR", str(tmp_path))
    return tmp_path / "engines"


def entry(folder):
    (file,) = folder.iterdir()
    return file


def test_reads_what_was_written(folder):
    assert cache.read(KEY) is None
    cache.write(KEY, PARTS)
    assert cache.read(KEY) == PARTS
    cache.write(KEY, {"other": b"1"})
    assert cache.read(KEY) == {"other": b"1"}
    assert cache.read("1" * 64) is None


@pytest.mark.parametrize("keep", [0, 1, 50, 500, -1])
def test_a_truncated_entry_is_none(folder, keep):
    cache.write(KEY, PARTS)
    file = entry(folder)
    file.write_bytes(file.read_bytes()[:keep])
    assert cache.read(KEY) is None


def test_one_wrong_bit_anywhere_is_noticed(folder):
    cache.write(KEY, PARTS)
    file = entry(folder)
    content = file.read_bytes()
    for position in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[position] ^= 1
        file.write_bytes(damaged)
        assert cache.read(KEY) != PARTS or damaged == content, position
        found = cache.read(KEY)
        # A changed name is the only thing that may survive: then the part asked for is missing.
        assert found is None or set(found) != set(PARTS)


def test_more_or_something_else_is_none(folder):
    cache.write(KEY, PARTS)
    file = entry(folder)
    content = file.read_bytes()
    for wrong in (content + b"x", b"", b"\n", b"[]\n", b"{}\n", b"\xff\xfe\n", b'{"key": 1}\n'):
        file.write_bytes(wrong)
        assert cache.read(KEY) is None
    # Another entry's content under this name: stale, however whole it is.
    file.write_bytes(content)
    os.replace(file, file.with_name("1" * 64 + ".entry"))
    assert cache.read("1" * 64) is None


def test_a_failed_write_leaves_nothing(folder):
    with pytest.raises(TypeError):
        cache.write(KEY, {"good": b"1", "bad": 5})
    cache.write(KEY, PARTS)
    with pytest.raises(AttributeError):
        cache.write(KEY, _Unwritable(PARTS))
    assert cache.read(KEY) == PARTS
    assert [file.suffix for file in folder.iterdir()] == [".entry"]


class _Unwritable(dict):
    """Parts that can be listed but not all be written, as on a full disk."""

    def values(self):
        yield b"first"
        yield None.missing


def test_what_nobody_used_for_long_goes(folder):
    cache.write(KEY, PARTS)
    old = time.time() - 90 * 86400
    os.utime(entry(folder), (old, old))
    cache.write("1" * 64, PARTS)
    assert cache.read(KEY) is None
    # Reading is using.
    os.utime(entry(folder), (old, old))
    cache.read("1" * 64)
    cache.write(KEY, PARTS)
    assert cache.read("1" * 64) == PARTS


def test_the_key_covers_all_that_goes_in():
    base = dict(digest="d", chunk=64, batch=1, precision="float32")
    keys = {cache.key("onnxruntime", ("numpy",), **base)}
    for change in (dict(digest="e"), dict(chunk=128), dict(batch=2), dict(precision="bfloat16")):
        keys.add(cache.key("onnxruntime", ("numpy",), **(base | change)))
    keys.add(cache.key("openvino", ("numpy",), **base))
    keys.add(cache.key("onnxruntime", ("numpy", "numba"), **base))
    assert len(keys) == 7
    assert cache.key("onnxruntime", ("numpy",), **base) in keys


@pytest.fixture(params=["onnxruntime", "openvino", "native"])
def engine(request):
    if reason := engines.available()[request.param]:
        pytest.skip(reason)
    return request.param


def test_built_once_and_again_when_damaged(folder, engine):
    said = []
    model, mixture = make(blocks=1, repeats=1), sound((1, 1, 64 * 40))

    def build():
        said.clear()
        return engines.build(model, engine, chunk=64, progress=said.append)

    expected = run(build(), mixture)
    assert said
    assert np.array_equal(run(build(), mixture), expected)
    assert not said
    file = entry(folder)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 16
    file.write_bytes(content)
    assert np.array_equal(run(build(), mixture), expected)
    assert said
    assert np.array_equal(run(build(), mixture), expected)
    assert not said


def test_what_a_library_refuses_is_built_anew(folder):
    """Whole, under the right name, and yet not what this version of it reads."""
    pytest.importorskip("openvino")
    said = []
    model, mixture = make(blocks=1, repeats=1), sound((1, 1, 64 * 40))
    expected = run(engines.build(model, "openvino", chunk=64), mixture)
    key = entry(folder).stem
    cache.write(key, cache.read(key) | {"step.blob": b"of another version"})
    again = engines.build(model, "openvino", chunk=64, progress=said.append)
    assert np.array_equal(run(again, mixture), expected)
    assert any("anew" in line for line in said)
    assert cache.read(key)["step.blob"] != b"of another version"


def test_engines_share_one_export(folder):
    model, said = make(blocks=1, repeats=1), []
    for engine in ("onnxruntime", "openvino"):
        if engines.available()[engine] is None:
            engines.build(model, engine, chunk=64, progress=said.append)
    assert sum("exporting" in line for line in said) == 1


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs a folder that can't be made")
def test_works_without_a_place_to_keep_it(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("RTSEP_CACHE_DIR", str(blocked))
    said = []
    model = make(blocks=1, repeats=1)
    engine = engines.build(model, "onnxruntime", chunk=64, progress=said.append)
    assert run(engine, sound((1, 1, 64 * 40))).any()
    assert "not kept" in said[-1]


SCRIPT = """
import sys, numpy as np, rtsep.engines
engine = rtsep.engines.build(sys.argv[1], "onnxruntime", chunk=64)
stems = np.empty(engine.spec.stems_shape, np.float32)
for step in range(20):
    engine.process(np.full((1, 1, 64), 0.1 * (-1) ** step, np.float32), stems)
heavy = {"torch", "onnx", "onnxscript", "onnx_ir", "sounddevice", "numba"} & set(sys.modules)
print(stems.tobytes().hex(), *sorted(heavy))
"""


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "tiny.safetensors"
    rtsep.checkpoints.save(make(blocks=1, repeats=1), path)
    return path


def test_a_hit_imports_no_torch(folder, checkpoint):
    engines.build(checkpoint, "onnxruntime", chunk=64)
    _, *heavy = start(checkpoint).communicate(timeout=60)[0].split()
    assert heavy == []


def test_concurrent_builds_agree(folder, checkpoint):
    running = [start(checkpoint) for _ in range(2)]
    outputs = [process.communicate(timeout=240)[0].split()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert outputs[0] == outputs[1]
    assert entry(folder).suffix == ".entry"


def start(checkpoint) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(checkpoint)], stdout=subprocess.PIPE, text=True
    )
