"""A step as compiled code makes it: by the address of a C function, without the interpreter where
the engine itself is compiled."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rtsep.engines.protocol import Engine

FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)


class Call(NamedTuple):
    """`address` of a C function of two pointers that returns nothing, and what it is called with.

    A step reads `mixture` and writes `stems`, of the engine's shapes: between steps they are the
    caller's. `owner` keeps all of it where it is.
    """

    address: int
    first: int
    second: int
    mixture: np.ndarray
    stems: np.ndarray
    owner: Any

    @property
    def by_address(self) -> tuple[int, int, int]:
        return self.address, self.first, self.second


def of(engine: Engine, failed: Callable[[BaseException], None]) -> Call:
    """The engine's own call where it has one (`call`), else one that goes through `process`.

    Errors can't pass through C: `failed` hears of them, and the stems are what they were.
    """
    own = getattr(engine, "call", None)
    if own is not None:
        return own
    mixture = np.zeros(engine.spec.mixture_shape, np.float32)
    stems = np.zeros(engine.spec.stems_shape, np.float32)
    function = through(lambda: engine.process(mixture, stems), failed)
    return Call(address(function), 0, 0, mixture, stems, function)


def through(do: Callable[[], None], failed: Callable[[BaseException], None]):
    """A C function, alive as long as what is returned, that does something in Python."""

    def function(first, second):
        try:
            do()
        except BaseException as error:  # the interrupt from the keyboard too
            failed(error)

    return FUNCTION(function)


def address(function) -> int:
    """Of a C function. (`ctypes.cast` would have it refer to itself, and stay until collected.)"""
    return ctypes.c_void_p.from_buffer(function).value
