from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def workers_find_the_model(monkeypatch):
    """The worker process imports `quarter_model`, as this folder's tests do."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
