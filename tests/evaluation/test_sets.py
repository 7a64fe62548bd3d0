"""Sets on disk, and a model scored on one as it would be heard."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from small_separator import sound

import rtsep
from rtsep.errors import Failure
from rtsep.evaluation import sets
from rtsep.evaluation.metrics import si_sdr_improvement
from rtsep.evaluation.score import score, summary

NAMES = ("voice", "background")


def stems_of(seed: int, rate: int = 16000, seconds: float = 1.0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(int(rate * seconds)) * 0.05
    return np.stack([sound(1, len(noise), rate)[0], noise]).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("set")
    for number in range(3):
        sets.write(path / f"{number:02d}", stems_of(number), NAMES)
    return path


def test_what_is_written_is_read(folder):
    cases = list(sets.read(folder))
    assert [case.name for case in cases] == sets.names(folder) == ["00", "01", "02"]
    stems = stems_of(1)
    np.testing.assert_array_equal(cases[1].stems["voice"][0], stems[0])
    np.testing.assert_array_equal(cases[1].mixture[0], stems.sum(0))
    assert cases[1].rate == 16000 and cases[1].mixture.shape == (1, 16000)


def test_what_is_no_set_is_said(folder, tmp_path):
    with pytest.raises(Failure, match="is no set"):
        list(sets.read(tmp_path))
    sets.write(tmp_path / "a", stems_of(0), NAMES)
    sets.write(tmp_path / "b", stems_of(0, seconds=0.5), NAMES)
    (tmp_path / "b" / "mix.wav").replace(tmp_path / "a" / "mix.wav")
    with pytest.raises(Failure, match="differ in rate, channels or length"):
        list(sets.read(tmp_path))
    (tmp_path / "a" / "voice.wav").write_bytes(b"nonsense")
    with pytest.raises(Failure, match="can't read .*voice.wav"):
        list(sets.read(tmp_path))


def test_a_score_is_that_of_what_separate_gives(folder, small_path):
    result = score(str(small_path), folder, gains=(-20.0,))
    assert [case["name"] for case in result["cases"]] == ["00", "01", "02"]
    for number, case in enumerate(result["cases"]):
        stems = stems_of(number)
        estimates = rtsep.separate(stems.sum(0), 16000, str(small_path))
        for name, stem in zip(NAMES, stems, strict=True):
            wanted = si_sdr_improvement(estimates[name], stem, stems.sum(0))
            assert case["stems"][name]["si_sdr_i"] == pytest.approx(wanted, abs=1e-3)
    gains = [case["stems"]["voice"]["si_sdr_i"] for case in result["cases"]]
    voice = result["stems"]["voice"]["si_sdr_i"]
    assert voice == {"mean": np.mean(gains), "median": np.median(gains)}
    (level,) = result["levels"]
    assert level["gain_db"] == -20 and level["stems"].keys() == {"voice", "background"}


def test_a_chunk_does_not_change_the_score(folder, small_path):
    fine, coarse = (score(str(small_path), folder, chunk=chunk) for chunk in (64, 1024))
    for stem in NAMES:
        mean = fine["stems"][stem]["si_sdr_i"]["mean"]
        assert coarse["stems"][stem]["si_sdr_i"]["mean"] == pytest.approx(mean, abs=1e-3)


def test_a_case_of_other_stems_is_said(tmp_path, small_path):
    sets.write(tmp_path / "x", stems_of(0), ("drums", "bass"))
    with pytest.raises(Failure, match="nothing to compare"):
        score(str(small_path), tmp_path)


def test_silent_stems_have_no_say():
    rows = [{"stems": {"voice": {"si_sdr_i": value}}} for value in (1.0, float("nan"), 3.0)]
    assert summary(rows)["voice"]["si_sdr_i"] == {"mean": 2.0, "median": 2.0}


def test_the_command_prints_json(folder, small_path):
    line = [sys.executable, "-m", "rtsep", "eval", "--model", str(small_path)]
    line += ["--set", str(folder), "--gain", "-30", "--gain", "10", "--json"]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["stems"]["voice"]["si_sdr_i"].keys() == {"mean", "median"}
    assert len(result["cases"]) == 3
    assert [level["gain_db"] for level in result["levels"]] == [-30, 10]
