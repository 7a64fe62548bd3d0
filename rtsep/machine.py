"""What compiled code needs of the machine: ordered memory access, a clock, a wake-up by address.

Everything here is called from numba's compiled code: no call allocates, locks or can raise.
Addresses are int64.
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
from contextlib import contextmanager
from functools import cache as once
from pathlib import Path

from llvmlite import ir
from numba import cfunc, config, njit, types
from numba.extending import intrinsic

from rtsep.engines import cache

_COMPILED = ("machine", "passage", "full_band", "audio/resampling", "audio/varying")
_COMPILED += tuple(
    f"live/{name}"
    for name in ("layout", "ring", "fade", "histogram", "safety", "callback", "carrier")
    + ("delivery", "door", "drift", "intake", "gate", "probe")
)
_INT64 = ir.IntType(64)


def is_kept(function: str) -> bool:
    """Whether "module.function" has been compiled here before: else that takes seconds, once."""
    return any(_folder().rglob(f"{function}-*.nbi"))


def _folder() -> Path:
    """Compiled code is kept on disk, in a folder for this state of all its sources.

    Left to itself, numba looks at one file only: it would go on with a callback that was compiled
    against an older layout of the block.
    """
    return cache.folder() / "native" / _digest()


@once
def _digest() -> str:
    text = b"".join((Path(__file__).parent / f"{name}.py").read_bytes() for name in _COMPILED)
    return hashlib.sha256(text).hexdigest()[:16]


@contextmanager
def _kept():
    before = config.CACHE_DIR
    config.CACHE_DIR = str(_folder())
    try:
        yield
    finally:
        config.CACHE_DIR = before


# Linux: a semaphore lies in the block, and is posted there, whichever process calls.
WAKES_BY_OFFSET = sys.platform not in ("win32", "darwin")


def compiled(function, **options):
    """Decorator: compiled on first use, kept on disk, runs without the interpreter's lock."""
    with _kept():
        return njit(nogil=True, cache=True, error_model="numpy", **options)(function)


def inlined(function):
    """Decorator: compiled where it is called, as a part of that."""
    return njit(inline="always")(function)


def compiled_sums(function):
    """The same, and the order within a sum is the compiler's: another one, but always the same."""
    return compiled(function, fastmath={"reassoc", "contract", "nsz"})


def c_function(signature):
    """Decorator: compiled at once, or taken from disk; callable from C by its `address`."""

    def compile(function):
        with _kept():
            return cfunc(signature, cache=True)(function)

    return compile


@intrinsic
def fence(context):
    """No access before it is seen after one behind it, by any core (ARM needs this said)."""

    def code(context, builder, signature, args):
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.none(), code


@intrinsic
def load_acquire(context, address):
    """The int64 at `address`; nothing that follows is read before it."""

    def code(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], _INT64.as_pointer())
        return builder.load_atomic(pointer, "acquire", 8)

    return types.int64(types.int64), code


@intrinsic
def store_release(context, address, value):
    """Puts an int64 at `address`; whoever sees it sees all that was written before."""

    def code(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], _INT64.as_pointer())
        builder.store_atomic(args[1], pointer, "release", 8)
        return context.get_dummy_value()

    return types.none(types.int64, types.int64), code


@intrinsic
def address_of(context, pointer):
    """A C pointer as a number."""

    def code(context, builder, signature, args):
        return builder.ptrtoint(args[0], _INT64)

    return types.int64(types.voidptr), code


@intrinsic
def pointer_to(context, address):
    """A number as a C pointer."""

    def code(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), code


@intrinsic
def call(context, function, first, second):
    """The C function of two pointers at this address, which returns nothing."""

    def code(context, builder, signature, args):
        pointer = context.get_value_type(types.voidptr)
        kind = ir.FunctionType(ir.VoidType(), [pointer, pointer]).as_pointer()
        address, *given = args
        given = [builder.inttoptr(argument, pointer) for argument in given]
        builder.call(builder.inttoptr(address, kind), given)
        return context.get_dummy_value()

    return types.none(types.int64, types.int64, types.int64), code


if sys.platform == "win32":
    _counter = types.ExternalFunction("QueryPerformanceCounter", types.int32(types.voidptr))
    _release = types.ExternalFunction(
        "ReleaseSemaphore", types.int32(types.voidptr, types.int32, types.voidptr)
    )
    _wait = types.ExternalFunction("WaitForSingleObject", types.uint32(types.voidptr, types.uint32))
    _sleep = types.ExternalFunction("Sleep", types.void(types.uint32))
    _frequency = ctypes.c_int64()
    ctypes.windll.kernel32.QueryPerformanceFrequency(ctypes.byref(_frequency))
    _TICKS = _frequency.value

    @compiled
    def now(scratch):
        """Monotonic time in ns; `scratch` is an int64 array of at least 2."""
        _counter(pointer_to(scratch.ctypes.data))
        whole, rest = divmod(scratch[0], _TICKS)
        return whole * 1_000_000_000 + rest * 1_000_000_000 // _TICKS

    @compiled
    def post(address):
        """Wakes whoever waits on the semaphore at this address (or with this handle)."""
        _release(pointer_to(address), 1, pointer_to(0))

    @compiled
    def wait(address, ns, scratch):
        """Until somebody posts on that semaphore: True; or for about so long: False."""
        return _wait(pointer_to(address), ns // 1_000_000) == 0

    @compiled
    def pause(ns, scratch):
        """Sleeps for about so long; a whole number of milliseconds here."""
        _sleep(max(1, ns // 1_000_000))

else:
    _MONOTONIC = 6 if sys.platform == "darwin" else 1
    _clock_gettime = types.ExternalFunction(
        "clock_gettime", types.int32(types.int32, types.voidptr)
    )
    _nanosleep = types.ExternalFunction("nanosleep", types.int32(types.voidptr, types.voidptr))
    _sem_post = types.ExternalFunction("sem_post", types.int32(types.voidptr))
    _sem_wait = types.ExternalFunction("sem_wait", types.int32(types.voidptr))

    @compiled
    def now(scratch):
        """Monotonic time in ns; `scratch` is an int64 array of at least 2."""
        _clock_gettime(_MONOTONIC, pointer_to(scratch.ctypes.data))
        return scratch[0] * 1_000_000_000 + scratch[1]

    @compiled
    def post(address):
        """Wakes whoever waits on the semaphore at this address (or with this handle)."""
        _sem_post(pointer_to(address))

    if sys.platform == "darwin":

        @compiled
        def wait(address, ns, scratch):
            """Until somebody posts on that semaphore: True. There is no wait with a time-out."""
            return _sem_wait(pointer_to(address)) == 0

    else:
        # By the clock that nobody sets; only old C libraries have no such wait.
        if hasattr(ctypes.CDLL(None), "sem_clockwait"):
            _CLOCK = _MONOTONIC
            _clockwait = types.ExternalFunction(
                "sem_clockwait", types.int32(types.voidptr, types.int32, types.voidptr)
            )

            @compiled
            def _wait_until(address, until):
                return _clockwait(pointer_to(address), _CLOCK, pointer_to(until))

        else:
            _CLOCK = 0
            _timedwait = types.ExternalFunction(
                "sem_timedwait", types.int32(types.voidptr, types.voidptr)
            )

            @compiled
            def _wait_until(address, until):
                return _timedwait(pointer_to(address), pointer_to(until))

        @compiled
        def wait(address, ns, scratch):
            """Until somebody posts on that semaphore: True; or for about so long: False."""
            until = scratch.ctypes.data
            _clock_gettime(_CLOCK, pointer_to(until))
            end = scratch[0] * 1_000_000_000 + scratch[1] + ns
            scratch[0], scratch[1] = end // 1_000_000_000, end % 1_000_000_000
            return _wait_until(address, until) == 0

    @compiled
    def pause(ns, scratch):
        """Sleeps for about so long, less than a second."""
        scratch[0], scratch[1] = 0, ns
        _nanosleep(pointer_to(scratch.ctypes.data), pointer_to(0))


@compiled
def timed(function, first, second, scratch):
    """Calls the C function of two pointers at this address; the ns that it took."""
    began = now(scratch)
    call(function, first, second)
    return now(scratch) - began
