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

from rtsep.errors import Failure
from rtsep.live.layout import SEMAPHORES, WAKE, Block


class _Shared:
    """Linux: a sem_t in the block."""

    def __init__(self, block: Block, ring: int, create: bool):
        self.address = block.address + SEMAPHORES[ring]
        self.handle = SEMAPHORES[ring]  # from the block's first byte, so that any process may call
        if create and ctypes.CDLL(None).sem_init(ctypes.c_void_p(self.address), 1, 0):
            raise Failure("this system has no process-shared semaphores")

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
        self.address, self._name, self._create = self.handle, name, create
        self._closed = threading.Event()
        if not create:
            threading.Thread(target=self._tick, daemon=True).start()

    def _tick(self) -> None:
        while not self._closed.wait(0.1):
            self._libc.sem_post(ctypes.c_void_p(self.address))

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
        self.address = self.handle

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

    @property
    def address(self) -> int:
        """What compiled code waits on, in this process: see `machine.wait`."""
        return self._it.address

    def close(self) -> None:
        self._it.close()
