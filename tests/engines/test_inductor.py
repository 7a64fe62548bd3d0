"""The engine that compiles ahead of time: right, compiled once, and only where it can be."""

from __future__ import annotations

import numpy as np
import pytest
from engine_models import BOUNDS, make, ratio, run, sound

from rtsep import engines
from rtsep.errors import Failure, WrongCall

CHUNK = 64


@pytest.fixture
def quickly(monkeypatch):
    """Without the search for the fastest forms."""
    if reason := engines.available()["inductor"]:
        pytest.skip(reason)
    monkeypatch.setenv("RTSEP_INDUCTOR_MODE", "default")


def test_rows_are_right_and_it_is_compiled_once(quickly, tmp_path, monkeypatch):
    monkeypatch.setenv("RTSEP_CACHE_DIR", str(tmp_path))
    model, said = make("masked", blocks=1, repeats=1), []

    def build():
        said.clear()
        return engines.build(model, "inductor", chunk=CHUNK, batch=2, progress=said.append)

    mixture = sound((2, 1, CHUNK * 60), seed=5)
    expected = run(engines.build(model, "eager", chunk=CHUNK, batch=2), mixture)
    built = build()
    assert any("compiling" in line for line in said)
    undisturbed = run(built, mixture)
    assert ratio(expected, undisturbed) >= BOUNDS["float32"]

    # Row 1 pauses from step 20 to 29, and starts anew at 40; row 0 must not notice.
    again = build()
    assert not said
    parts = [run(again, mixture[..., : 20 * CHUNK])]
    pause = mixture[..., 20 * CHUNK : 30 * CHUNK]
    parts.append(run(again, pause, active=lambda index: [True, False]))
    parts.append(run(again, mixture[..., 30 * CHUNK : 40 * CHUNK]))
    again.reset([1])
    parts.append(run(again, mixture[..., 40 * CHUNK :]))
    disturbed = np.concatenate(parts, -1)
    assert np.array_equal(disturbed[0], undisturbed[0])
    assert not parts[1][1].any()
    again.reset()
    anew = run(again, mixture[..., 40 * CHUNK :])
    assert np.array_equal(parts[3][1], anew[1])
    again.close()
    with pytest.raises(Failure, match="closed"):
        again.reset()


def test_no_package_is_refused(quickly):
    """Whole, and yet not what this version of torch reads: it would be compiled anew."""
    from rtsep.engines import inductor

    with pytest.raises(RuntimeError):
        inductor._loaded(b"of another version")


def test_no_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "no C++ compiler (no-such-compiler)" in engines.available()["inductor"]
    with pytest.raises(Failure, match="engine inductor: no C.. compiler .*CXX"):
        engines.build(make(), "inductor")


def test_unknown_mode(quickly, monkeypatch):
    monkeypatch.setenv("RTSEP_INDUCTOR_MODE", "fastest")
    with pytest.raises(WrongCall, match="max-autotune or default"):
        engines.build(make(), "inductor")
