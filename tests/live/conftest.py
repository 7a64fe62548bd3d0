from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def workers_find_the_tests(monkeypatch):
    """The worker process imports `tests.live.perfect`."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
