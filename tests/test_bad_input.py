"""What goes wrong is said in one line, ends with a code, and leaves nothing half-written behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from broken_files import BROKEN
from small_separator import sound, write


def command(*arguments) -> list[str]:
    return [sys.executable, "-m", "rtsep", "separate", *map(str, arguments)]


def refused(*arguments, code=1) -> str:
    """Runs the command, which must fail as it should; returns its one line."""
    done = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("rtsep: "), done.stderr
    return done.stderr


def everything(folder) -> dict:
    """All that is in a folder, hidden files included."""
    return {p: p.is_file() and p.read_bytes() for p in folder.rglob("*")}


@pytest.fixture
def good(tmp_path):
    return write(tmp_path / "good.wav", sound(1, 4000, 16_000), 16_000)


@pytest.mark.parametrize(
    "case",
    ["empty", "text", "header cut", "half", "promises a gigabyte", "no samples", "rate 1",
     "rate 4 GHz", "channels 65"],
)  # fmt: skip
def test_broken_files(small_path, good, tmp_path, case):
    content, _ = BROKEN[case]
    (tmp_path / "broken.wav").write_bytes(content)
    before = everything(tmp_path)
    # The file that is whole comes first, and is not begun.
    said = refused(good, tmp_path / "broken.wav", "--model", small_path, "--out", tmp_path / "out")
    assert "broken.wav: " in said
    assert everything(tmp_path) == before


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity(small_path, tmp_path, bad):
    x = sound(1, 40_000, 16_000)
    x[0, 30_000] = bad
    file = write(tmp_path / "x.wav", x, 16_000)
    before = everything(tmp_path)
    said = refused(file, "--model", small_path, "--out", tmp_path / "a" / "b")
    assert "x.wav: sample 30000" in said
    assert everything(tmp_path) == before


def test_files_that_are_not_there(small_path, good, tmp_path):
    before = everything(tmp_path)
    for file, said in ((tmp_path / "none.wav", "no such file"), (tmp_path, "is a folder")):
        assert said in refused(file, "--model", small_path, "--out", tmp_path / "out")
    assert everything(tmp_path) == before


@pytest.mark.parametrize("place", [0.02, 0.5, 0.999])
def test_a_checkpoint_with_one_bit_flipped(small_path, good, tmp_path, place):
    content = bytearray(small_path.read_bytes())
    content[int(place * len(content))] ^= 16
    (tmp_path / "flipped.safetensors").write_bytes(content)
    before = everything(tmp_path)
    said = refused(good, "--model", tmp_path / "flipped.safetensors", "--out", tmp_path / "out")
    assert "flipped.safetensors" in said
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    "options,said",
    [
        (["--model", "nothing"], "nothing"),
        (["--engine", "steam"], "steam"),
        (["--chunk", "63"], "multiples"),
        (["--chunk", "0"], "multiples"),
        (["--chunk", "many"], "--chunk"),
        (["--frobnicate"], "frobnicate"),
    ],
)
def test_unknown_names_and_wrong_options(small_path, good, tmp_path, options, said):
    before = everything(tmp_path)
    model = [] if "--model" in options else ["--model", small_path]
    assert said in refused(good, *model, *options, "--out", tmp_path / "out", code=2)
    assert everything(tmp_path) == before


def test_missing_arguments(good):
    assert "--out" in refused(good, code=2)
    assert "FILE" in refused("--out", "x", code=2)


def test_an_output_folder_below_a_file(small_path, good, tmp_path):
    before = everything(tmp_path)
    said = refused(good, "--model", small_path, "--out", good / "below")
    assert "good.wav" in said
    assert everything(tmp_path) == before


@pytest.fixture
def mounted(tmp_path):
    """Mounts a small file system in memory; skips where that is not permitted."""
    places = []

    def mount(size: str):
        place = tmp_path / "disk"
        place.mkdir()
        arguments = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
        try:
            done = subprocess.run(arguments, capture_output=True, text=True)
        except OSError as error:
            pytest.skip(f"can't mount: {error}")
        if done.returncode:
            pytest.skip(f"can't mount: {done.stderr.strip()}")
        places.append(place)
        return place

    yield mount
    for place in places:
        subprocess.run(["umount", str(place)], check=True)


def test_a_read_only_output_folder(small_path, good, mounted):
    disk = mounted("64k")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    said = refused(good, "--model", small_path, "--out", disk / "out")
    assert f"{disk}: can't be written to" in said
    assert everything(disk) == {}


@pytest.mark.parametrize("size", ["64k", "4k"])
def test_a_full_disk(small_path, tmp_path, mounted, size):
    """The stems need 2 x 156 kB."""
    file = write(tmp_path / "long.wav", sound(1, 40_000, 16_000), 16_000)
    disk = mounted(size)
    said = refused(file, "--model", small_path, "--out", disk / "out")
    assert "no space left" in said.lower()
    assert everything(disk) == {}


@pytest.fixture(scope="module")
def long_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long")
    return write(folder / "long.wav", sound(1, 16_000 * 600, 16_000), 16_000)


@pytest.mark.parametrize("files", [0, 1, 2])
@pytest.mark.parametrize("number,code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_halfway(small_path, long_file, tmp_path, number, code, files):
    """At the very moment when there is a folder, a first and a second file in it."""
    out = tmp_path / "out"
    process = subprocess.Popen(command(long_file, "--model", small_path, "--out", out))
    try:
        until = time.monotonic() + 100
        while not out.exists() or len(list(out.rglob("*.part"))) < files:
            assert process.poll() is None
            assert time.monotonic() < until
        os.kill(process.pid, number)
        assert process.wait(30) == code
    finally:
        process.kill()
    assert not out.exists()
