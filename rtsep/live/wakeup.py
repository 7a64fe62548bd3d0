"""How the callback wakes the worker: a semaphore that it posts by address.

On Linux it lies in the shared block itself. Elsewhere a process-shared semaphore in memory does
not exist, and a named one is opened on both sides. Only the parent, in whose process the callback
runs, calls `create`, and puts the address (macOS: of the named one; Windows: its handle) of the
semaphore that is to be posted where the callback finds it.

There is one for each stem ring. The callback posts one for each block: that of the worker that is
heard. Another one beside it looks by itself.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import time

from rtsep.errors import Failure
from rtsep.live.layout import SEMAPHORES, WAKE, Block


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


class _Shared:
    """Linux: a sem_t in the block."""

    def __init__(self, block: Block, ring: int, create: bool):
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._semaphore = ctypes.c_void_p(block.address + SEMAPHORES[ring])
        self.handle = SEMAPHORES[ring]  # from the block's first byte, so that any process may call
        if create and self._libc.sem_init(self._semaphore, 1, 0):
            raise Failure("this system has no process-shared semaphores")

    def wait(self, seconds: float) -> bool:
        # By the clock that nobody sets; only old C libraries have no such wait.
        steady = hasattr(self._libc, "sem_clockwait")
        clock = time.CLOCK_MONOTONIC if steady else time.CLOCK_REALTIME
        end = time.clock_gettime_ns(clock) + int(seconds * 1e9)
        until = ctypes.byref(_Timespec(*divmod(end, 1_000_000_000)))
        if steady:
            return self._libc.sem_clockwait(self._semaphore, clock, until) == 0
        return self._libc.sem_timedwait(self._semaphore, until) == 0

    def close(self) -> None:
        pass  # it goes with the block


class _Named:
    """macOS: a named semaphore. It has no wait with a time-out: a thread posts every 0.1 s."""

    def __init__(self, block: Block, ring: int, create: bool):
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.sem_open.restype = ctypes.c_void_p
        name = ("/" + block.name.strip("/"))[:28].encode() + (b".a", b".b")[ring]
        if create:
            self._libc.sem_unlink(name)
            self.handle = self._libc.sem_open(name, 0x200, ctypes.c_uint(0o600), ctypes.c_uint(0))
        else:
            self.handle = self._libc.sem_open(name, 0)
        if self.handle in (None, ctypes.c_void_p(-1).value):
            raise Failure("no semaphore to wake the worker with")
        self._semaphore, self._name, self._create = ctypes.c_void_p(self.handle), name, create
        self._closed = threading.Event()
        if not create:
            threading.Thread(target=self._tick, daemon=True).start()

    def _tick(self) -> None:
        while not self._closed.wait(0.1):
            self._libc.sem_post(self._semaphore)

    def wait(self, seconds: float) -> bool:
        return self._libc.sem_wait(self._semaphore) == 0

    def close(self) -> None:
        self._closed.set()
        if self._create:
            self._libc.sem_unlink(self._name)


class _Handle:
    """Windows: a named semaphore object."""

    def __init__(self, block: Block, ring: int, create: bool):
        self._kernel = ctypes.windll.kernel32
        self._kernel.CreateSemaphoreW.restype = ctypes.c_void_p
        name = f"Local\\{block.name}.{ring}"
        self.handle = self._kernel.CreateSemaphoreW(None, 0, 1 << 30, name)
        if not self.handle:
            raise Failure("no semaphore to wake the worker with")

    def wait(self, seconds: float) -> bool:
        handle = ctypes.c_void_p(self.handle)
        return self._kernel.WaitForSingleObject(handle, int(seconds * 1000)) == 0

    def close(self) -> None:
        self._kernel.CloseHandle(ctypes.c_void_p(self.handle))


_KINDS = {"linux": _Shared, "darwin": _Named, "win32": _Handle}


class Wakeup:
    """Of one stem ring's worker, which waits. The parent may `lead` the callback to it, which posts
    that of ring A at first."""

    def __init__(self, block: Block, ring: int = 0, create: bool = False):
        self._block = block
        self._it = _KINDS.get(sys.platform, _Shared)(block, ring, create)
        if create and ring == 0:
            self.lead()

    def lead(self) -> None:
        self._block.i64[WAKE] = self._it.handle

    def wait(self, seconds: float) -> bool:
        """Until somebody posts: True; or for about so long: False."""
        return self._it.wait(seconds)

    def close(self) -> None:
        self._it.close()
