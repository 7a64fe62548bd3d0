"""Where a host calls in: every stream has a door of its own, before the run's gate or an intake.

A door notes when the host called and for how many frames, from which `delivery.py` learns how it
delivers, and passes the call on while it is open; else it plays silence. A stream whose device is
gone may never end, and may call again when nobody reckons with it any more: its door stays shut,
and its memory stays, as long as the process.
"""

from __future__ import annotations

import atexit
import time

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic

from rtsep.live.callback import CONTINUE, PROTOTYPE, SIGNATURE
from rtsep.machine import (
    address_of,
    c_function,
    fence,
    load_acquire,
    now,
    pointer_to,
    store_release,
)

LOGGED = 1 << 14  # calls that are noted: the latest so many

FUNCTION = 0  # address of what is called while the door is open
USER = 1  # its user data; 0: the door is shut
OUTPUTS = 2  # channels that the stream plays
CALLS = 3  # so far, open or shut
INSIDE = 4  # a call is under way
SCRATCH = 5  # two
_LOG = 16
_WORDS = _LOG + 2 * LOGGED


@intrinsic
def call_c(context, function, source, out, frames, info, flags, user):
    """The PortAudio callback at this address."""

    def code(context, builder, signature, args):
        kinds = [context.get_value_type(kind) for kind in SIGNATURE.args]
        pointer = ir.FunctionType(ir.IntType(32), kinds).as_pointer()
        return builder.call(builder.inttoptr(args[0], pointer), args[1:])

    return types.int32(types.int64, *SIGNATURE.args), code


@c_function(SIGNATURE)
def door(source, out, frames, info, flags, user):
    h = carray(user, (_WORDS,), np.int64)
    base = h.ctypes.data
    n = np.int64(frames)
    k = _LOG + 2 * (h[CALLS] & (LOGGED - 1))
    h[k], h[k + 1] = now(h[SCRATCH : SCRATCH + 2]), n
    h[INSIDE] = 1
    fence()
    to = load_acquire(base + 8 * USER)
    code = np.int32(CONTINUE)
    if to != 0:
        code = call_c(h[FUNCTION], source, out, frames, info, flags, pointer_to(to))
    elif address_of(out) != 0:
        silence = carray(out, (n * h[OUTPUTS],), np.float32)
        for i in range(n * h[OUTPUTS]):
            silence[i] = 0
    store_release(base + 8 * INSIDE, 0)
    store_release(base + 8 * CALLS, h[CALLS] + 1)
    return code


class Door:
    """Before the C function at address `function`, of a stream that plays `outputs` channels."""

    def __init__(self, function: int, outputs: int):
        self._h = np.zeros(_WORDS, np.int64)
        self._h[[FUNCTION, OUTPUTS]] = function, outputs

    @property
    def address(self) -> int:
        """The user data of its callback."""
        return self._h.ctypes.data

    @property
    def calls(self) -> int:
        return int(self._h[CALLS])

    def open(self, user: int) -> None:
        """From the next call on, the function is called, with this as its user data."""
        self._h[USER] = user

    def shut(self) -> bool:
        """Nothing is passed on from now on; whether that is certain within a second."""
        self._h[USER] = 0
        return left(self._h, INSIDE)

    def keep(self) -> None:
        """Its memory stays until the process ends, for a stream that may never end."""
        atexit.register(id, self)

    def log(self) -> tuple[np.ndarray, np.ndarray]:
        """(ns, frames) of the latest calls, oldest first."""
        calls = self.calls
        kept = np.arange(max(0, calls - LOGGED + 1), calls) & (LOGGED - 1)
        entries = self._h[_LOG:].reshape(-1, 2)[kept]
        return entries[:, 0], entries[:, 1]


def left(h: np.ndarray, inside: int) -> bool:
    """Whether the call that may be under way is over, after waiting for at most a second."""
    until = time.monotonic() + 1
    time.sleep(0.001)  # a call that has begun is seen, however late its mark arrives
    while h[inside] and time.monotonic() < until:
        time.sleep(0.001)
    return not h[inside]


def bound():
    """The door for ctypes: `bound()(in, out, frames, None, flags, door.address)`."""
    return PROTOTYPE(door.address)
