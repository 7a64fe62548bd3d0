"""`run` and `separate` share the full band alike, and let it be alike."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
import soundfile
from live_runs import recorded
from test_run_command import RTSEP

RATE = 48000


@pytest.mark.parametrize("option", ["--full-band", "--no-full-band"])
def test_run_equals_separate(small_path, tmp_path, option):
    x = np.random.default_rng(3).normal(0, 0.1, (RATE, 1)).astype(np.float32)
    soundfile.write(tmp_path / "in.wav", x, RATE, "FLOAT")
    ends = ["--input", tmp_path / "in.wav", "--clock", "free", "--record", tmp_path / "live"]
    calls = (
        ["run", *ends, "--model", small_path, option],
        ["separate", tmp_path / "in.wav", "--out", tmp_path, "--model", small_path, option],
    )
    for call in calls:
        subprocess.run([*RTSEP[:-1], *map(str, call)], check=True, capture_output=True)
    live, whole = recorded(tmp_path / "live"), recorded(tmp_path / "in")
    late = len(live["mix"]) - len(x)
    for stem in ("voice", "background"):
        assert np.array_equal(live[stem][late:], whole[stem])
    high = np.abs(np.fft.rfft(whole["voice"][:, 0]))[RATE * 10 // 48 :]
    assert (high.max() > 1) == (option == "--full-band")
