"""Signals that are noted in place of cutting work in two."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from rtsep.interruptions import interruptions


@pytest.fixture(autouse=True)
def as_before():
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_is_noted_and_the_second_ends_at_once(number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), interruptions() as interrupted:
        assert interrupted() is None
        send(number)
        assert interrupted() == number
        send(number)
    assert signal.getsignal(number) == before


def test_what_is_ignored_stays_so():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interruptions() as interrupted:
        send(signal.SIGINT)
        assert interrupted() is None
        send(signal.SIGTERM)
        assert interrupted() == signal.SIGTERM
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_no_signal_comes_to_another_thread():
    found = []

    def work():
        with interruptions() as interrupted:
            found.append(interrupted())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [None]
