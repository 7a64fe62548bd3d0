"""What all tests of engines run with."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Nothing is read from or left in the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RTSEP_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield
