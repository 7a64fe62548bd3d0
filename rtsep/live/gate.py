"""What a device calls: a compiled gate before the run's callback.

PortAudio gets one callback for the whole life of a stream, through its door (`door.py`). While the
gate is closed it plays silence. Open, it passes every call on to the run's callback
(`callback.py`); where the device has no input or no output, it takes the sound from a ring that a
file fills, or puts it into one that a file is written from; where the input has a clock of its own,
it takes the sound from there (`intake.py`). Its memory (int64 slots, then rings and two buffers) is
shared, for another process may come to call for the devices: see `device_process.py`.
"""

from __future__ import annotations

from multiprocessing import shared_memory

import numpy as np
from numba import carray

from rtsep.errors import Failure
from rtsep.live.callback import (
    COMPLETE,
    CONTINUE,
    MORE_AT_ONCE,
    PROTOTYPE,
    SIGNATURE,
    callback,
)
from rtsep.live.delivery import at_once
from rtsep.live.door import call_c, left
from rtsep.live.intake import LARGEST, pull
from rtsep.live.layout import attach
from rtsep.machine import (
    address_of,
    c_function,
    compiled,
    fence,
    load_acquire,
    now,
    pointer_to,
    store_release,
)

LINE = 16

# Slots. The gate writes those from SAMPLES on, and one end of each ring.
(
    CALLBACK,  # address of the run's callback
    BLOCK,  # address of the run's shared block: 0 while the gate is closed
    RATE,
    INPUTS,
    OUTPUTS,
    DELIVERY,  # frames that the host may hand over at once before that is worth a flag
    END,  # the run is complete after so many frames
    FEED,  # where things lie, in words of 4 bytes
    HEARD,
    SOURCE,
    TARGET,
    FEED_SIZE,  # frames, a power of two; 0: there is no such ring
    HEARD_SIZE,
    INTAKE,  # address of an input with a clock of its own; 0: there is none
) = range(14)
SAMPLES = LINE  # passed on to the run's callback
SINCE = SAMPLES + 1  # three, for `at_once`
SCRATCH = SAMPLES + 4  # two
STARVED = SAMPLES + 6  # calls for which the feeding file was not ready
LOST = SAMPLES + 7  # frames that the file to write to had no room for
FEED_READ = SAMPLES + 8  # frames
HEARD_WRITTEN = SAMPLES + 9
INSIDE = SAMPLES + 10  # a call is under way
MOST = SAMPLES + 11  # frames that came at once since the gate is open
FEED_WRITTEN = 3 * LINE  # by the feeding thread
HEARD_READ = 4 * LINE  # by the writing thread
_HEAD = 5 * LINE

_WORDS = 1 << 40


@compiled
def _feed(h, f32, n):
    """The next n frames of the feeding ring, in the source buffer; silence where it has none."""
    size, width, to = h[FEED_SIZE], h[INPUTS], h[SOURCE]
    start = h[FEED_READ]
    there = min(n, load_acquire(h.ctypes.data + 8 * FEED_WRITTEN) - start)
    for i in range(n * width):
        f32[to + i] = 0
    for i in range(there):
        of = h[FEED] + ((start + i) & (size - 1)) * width
        for k in range(width):
            f32[to + i * width + k] = f32[of + k]
    # What is late is played later, or the rest of the file would be cut.
    store_release(h.ctypes.data + 8 * FEED_READ, start + there)
    if there < n and h[SAMPLES] + n < h[END]:
        h[STARVED] += 1


@compiled
def _hear(h, f32, n):
    """Puts n frames of the target buffer into the ring that a file is written from."""
    size, width, of = h[HEARD_SIZE], h[OUTPUTS], h[TARGET]
    start = h[HEARD_WRITTEN]
    if start + n - load_acquire(h.ctypes.data + 8 * HEARD_READ) > size:
        h[LOST] += n
        return
    for i in range(n):
        to = h[HEARD] + ((start + i) & (size - 1)) * width
        for k in range(width):
            f32[to + k] = f32[of + i * width + k]
    store_release(h.ctypes.data + 8 * HEARD_WRITTEN, start + n)


@c_function(SIGNATURE)
def gate(source, out, frames, info, flags, user):
    h = carray(user, (_WORDS,), np.int64)
    f32 = carray(user, (2 * _WORDS,), np.float32)
    base = h.ctypes.data
    n, told = np.int64(frames), np.int64(flags)
    began = now(h[SCRATCH : SCRATCH + 2])
    together = at_once(h, SINCE, h[RATE], began, n)
    h[INSIDE] = 1
    fence()
    block = load_acquire(base + 8 * BLOCK)
    intake = load_acquire(base + 8 * INTAKE)
    code = np.int32(CONTINUE)
    if intake != 0 and n <= LARGEST:
        at, lost = pull(intake, began, together - n, n, block != 0)
        source = pointer_to(at)
        told |= lost
    if block == 0 or n > LARGEST:
        if address_of(out) != 0:
            silence = carray(out, (n * h[OUTPUTS],), np.float32)
            for i in range(n * h[OUTPUTS]):
                silence[i] = 0
    else:
        if h[FEED_SIZE] > 0:
            _feed(h, f32, n)
            source = pointer_to(base + 4 * h[SOURCE])
        if h[HEARD_SIZE] > 0:
            out = pointer_to(base + 4 * h[TARGET])
        h[MOST] = max(h[MOST], together)
        if together > h[DELIVERY]:
            told |= MORE_AT_ONCE
        code = call_c(h[CALLBACK], source, out, frames, info, told, pointer_to(block))
        if h[HEARD_SIZE] > 0:
            _hear(h, f32, n)
        samples = h[SAMPLES] + n
        store_release(base + 8 * SAMPLES, samples)
        if samples >= load_acquire(base + 8 * END):
            code = np.int32(COMPLETE)
    store_release(base + 8 * INSIDE, 0)
    return code


class Gate:
    """The gate's memory, and both ends of its rings for Python.

    `inputs` and `outputs` are the run's channels. `feed` and `heard`: seconds of ring for a file
    that takes the device's place, 0 where the device itself has that end.
    """

    def __init__(self, rate: int, inputs: int, outputs: int, feed: float = 0, heard: float = 0):
        feed_size, heard_size = _size(feed, rate), _size(heard, rate)
        floats, places = 2 * _HEAD, []
        for count in (
            feed_size * inputs,
            heard_size * outputs,
            LARGEST * inputs * bool(feed),
            LARGEST * outputs * bool(heard),
        ):
            places.append(floats)
            floats += -(-count // 32) * 32
        size = 8 * -(-floats // 2)
        try:
            self._map(shared_memory.SharedMemory(create=True, size=size))
        except OSError as error:
            raise Failure(f"no shared memory ({size >> 20} MB): {error.strerror}") from None
        h = self._i64
        h[:] = 0
        h[[RATE, INPUTS, OUTPUTS]] = rate, inputs, outputs
        h[[FEED, HEARD, SOURCE, TARGET]] = places
        h[[FEED_SIZE, HEARD_SIZE]] = feed_size, heard_size
        h[[DELIVERY, END]] = 1 << 62
        h[CALLBACK] = callback.address

    @classmethod
    def attach(cls, name: str) -> Gate:
        """The gate that another process made, and removes."""
        self = cls.__new__(cls)
        self._map(attach(name))
        return self

    def _map(self, memory: shared_memory.SharedMemory) -> None:
        # Python would close it again at its end, and complain where arrays still look at it.
        self._memory, memory.close = memory, lambda: None
        self._i64 = np.frombuffer(memory.buf, np.int64, memory.size // 8)
        self._f32 = self._i64.view(np.float32)

    def take_over(self, intake: int = 0) -> None:
        """From now on this process calls it, and opens it; nobody else does any more. `intake`: the
        address of the `Intake` that the sound is taken from; 0: of none."""
        self._i64[[BLOCK, INSIDE]] = 0
        self._i64[[CALLBACK, INTAKE]] = callback.address, intake

    def close(self) -> None:
        """It is gone when nobody looks at it any more. For the process that made it."""
        try:
            self._memory.unlink()
        except FileNotFoundError:
            pass  # it was closed before

    @property
    def name(self) -> str:
        """What `attach` takes."""
        return self._memory.name

    @property
    def address(self) -> int:
        """The user data of its callback."""
        return self._i64.ctypes.data

    @property
    def samples(self) -> int:
        """Frames that were passed on to the run, none beyond its end."""
        return int(min(self._i64[SAMPLES], self._i64[END]))

    @property
    def end(self) -> int:
        return int(self._i64[END])

    @end.setter
    def end(self, frames: int) -> None:
        self._i64[END] = frames

    @property
    def starved(self) -> int:
        """Calls for which the feeding file was not ready."""
        return int(self._i64[STARVED])

    @property
    def lost(self) -> int:
        """Frames that the file to write to had no room for."""
        return int(self._i64[LOST])

    @property
    def most(self) -> int:
        """Frames that the host handed over at once, at the most, since the gate is open."""
        return int(self._i64[MOST])

    def open(self, block_address: int, delivery: int, function: int = 0) -> None:
        """From the next call on, the run's callback gets what the device calls with.

        `function`: address of another C function that does, with its own user data for a block.
        """
        self._i64[DELIVERY] = delivery
        if function:
            self._i64[CALLBACK] = function
        self._i64[BLOCK] = block_address

    def shut(self) -> bool:
        """The run's block is left alone from now on; whether that is certain within a second."""
        self._i64[BLOCK] = 0
        return left(self._i64, INSIDE)

    def put(self, frames: np.ndarray) -> int:
        """Appends (n, inputs) to the feeding ring, as far as there is room; how many fitted."""
        h, size = self._i64, int(self._i64[FEED_SIZE])
        at = int(h[FEED_WRITTEN])
        n = min(len(frames), size - (at - int(h[FEED_READ])))
        ring = self._f32[h[FEED] : h[FEED] + size * h[INPUTS]].reshape(size, -1)
        ring[np.arange(at, at + n) & (size - 1)] = frames[:n]
        h[FEED_WRITTEN] = at + n
        return n

    def take(self) -> np.ndarray:
        """All (n, outputs) that was heard since the last call of this, none beyond the end."""
        h, size = self._i64, int(self._i64[HEARD_SIZE])
        at, end = int(h[HEARD_READ]), int(h[HEARD_WRITTEN])
        ring = self._f32[h[HEARD] : h[HEARD] + size * h[OUTPUTS]].reshape(size, -1)
        frames = ring[np.arange(at, min(end, max(at, self.end - self.lost))) & (size - 1)]
        h[HEARD_READ] = end
        return frames


def bound():
    """The gate for ctypes: `bound()(in, out, frames, None, flags, gate.address)`."""
    return PROTOTYPE(gate.address)


def _size(seconds: float, rate: int) -> int:
    """Frames of a ring of so many seconds: a power of two."""
    if not seconds:
        return 0
    return 1 << (max(int(seconds * rate), 2 * LARGEST) - 1).bit_length()
