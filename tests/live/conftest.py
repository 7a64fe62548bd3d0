"""What all tests of live runs have in common."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def workers_find_the_model(monkeypatch):
    """The worker process imports `quarter_model`, as this folder's tests do."""
    monkeypatch.setenv("PYTHONPATH", str(HERE))


@pytest.fixture(scope="session", autouse=True)
def first_start(own_cache):
    """What the command says where it has not been run yet, before any test: it has, in all."""
    command = [sys.executable, "-m", "rtsep", "run", "--factory", "quarter_model:build"]
    command += ["--clock", "free", "--duration", "0.1"]
    environment = os.environ | {"PYTHONPATH": str(HERE)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stderr
