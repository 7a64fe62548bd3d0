"""What all tests run with."""

from __future__ import annotations

import signal
import sys

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Random weights are those of the test, whatever ran before it in this process."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard():
    """A shell starts what runs in its background deaf to Ctrl-C, and children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Nothing is read from or left in the user's own cache; tests share what they build."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RTSEP_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def small_path(tmp_path_factory):
    """The checkpoint of a small mono model with random weights."""
    from small_separator import save_model

    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    save_model(path)
    return path
