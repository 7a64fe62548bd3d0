"""Packages: what `rtsep build --out` makes starts at once, here and nowhere else."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from engine_models import make, run, sound

import rtsep.checkpoints
from rtsep import engines
from rtsep.errors import Failure


def rtsep_build(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "rtsep", "build", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A checkpoint, and its package for two rows in chunks of 128."""
    home = tmp_path_factory.mktemp("package")
    path, package = home / "tiny.safetensors", home / "made"
    rtsep.checkpoints.save(make(blocks=1, repeats=1), path)
    done = rtsep_build(path, "--chunk", 128, "--batch", 2, "--out", package, "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    (row,) = said["built"]
    assert (row["engine"], row["precision"], row["chunk"]) == ("native", "float32", 128)
    assert said["package"] == str(package) and row["error"] is None
    return path, package


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RTSEP_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_package_starts_without_building(made, cache):
    path, package = made
    said: list[str] = []
    built = engines.build(package, batch=2, progress=said.append)
    assert (built.spec.engine, built.spec.chunk) == ("native", 128)
    assert built.spec.reason == "of the package" and said == []
    mixture = sound((2, 1, 128 * 20))
    expected = run(engines.build(path, "native", chunk=128, batch=2), mixture)
    assert np.array_equal(run(built, mixture), expected)
    # Anything else is built as usual.
    assert engines.build(package, chunk=64).spec.reason == "the default"


@pytest.mark.parametrize(
    ("name", "value"), [("processor", "another"), ("llvmlite", "0.1"), ("sources", "0" * 16)]
)
def test_made_for_something_else_is_refused_with_the_command(made, cache, name, value):
    _, package = made
    manifest = package / "package.json"
    before = manifest.read_text()
    content = json.loads(before)
    content["made_for"][name] = value
    manifest.write_text(json.dumps(content))
    try:
        with pytest.raises(Failure, match=f"made for {name} {value}") as refused:
            engines.build(package, batch=2)
    finally:
        manifest.write_text(before)
    said = str(refused.value)
    assert f"rtsep build {package}/model.safetensors --engine native" in said
    assert "--chunk 128 --batch 2" in said and "\n" not in said


def test_a_manifest_that_is_none_is_refused(made, cache):
    _, package = made
    manifest = package / "package.json"
    before = manifest.read_text()
    try:
        for wrong in ("", "[]", "{}", '{"made_for": {}}'):
            manifest.write_text(wrong)
            with pytest.raises(Failure, match="package.json can't be read"):
                engines.build(package, batch=2)
    finally:
        manifest.write_text(before)


def test_wrong_calls_leave_nothing(made, cache, tmp_path):
    path, package = made
    for arguments, said, code in [
        ((path, "--out", package), "not an empty folder", 2),
        ((path, "--all", "--engine", "native"), "--all", 2),
        ((path, "--out", tmp_path / "new", "--chunk", 100), "64, 128, 192", 2),
        ((path, "--engine", "quantum"), "quantum", 2),
        (("nonesuch",), "nonesuch", 2),
    ]:
        done = rtsep_build(*arguments)
        assert done.returncode == code, done.stderr
        assert said in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "new").exists()
