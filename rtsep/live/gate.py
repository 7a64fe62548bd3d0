"""What a device calls: a compiled gate before the run's callback.

PortAudio gets one callback for the whole life of a stream. While the gate is closed it plays
silence and notes when the host called and for how many frames, from which `delivery.py` learns what
the host hands over at once. Open, it passes every call on to the run's callback (`callback.py`);
where the device has no input or no output, it takes the sound from a ring that a file fills, or
puts it into one that a file is written from. Its memory is this process's own: int64 slots, then
the log, the rings and two buffers.
"""

from __future__ import annotations

import time

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic

from rtsep.live.callback import (
    COMPLETE,
    CONTINUE,
    MORE_AT_ONCE,
    PROTOTYPE,
    SIGNATURE,
    callback,
)
from rtsep.live.native import (
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
LOGGED = 1 << 14  # calls that are noted: the latest so many
LARGEST = 1 << 15  # frames of a call that rings and buffers can take

# Slots. The gate writes CALLS and SAMPLES, the fields of the log and one end of each ring.
(
    CALLBACK,  # address of the run's callback
    BLOCK,  # address of the run's shared block: 0 while the gate is closed
    RATE,
    INPUTS,
    OUTPUTS,
    DELIVERY,  # frames that the host may hand over at once before that is worth a flag
    END,  # the run is complete after so many frames
    LOG,  # where things lie, in words of 8 bytes (log) and 4 bytes (float32)
    FEED,
    HEARD,
    SOURCE,
    TARGET,
    FEED_SIZE,  # frames, a power of two; 0: there is no such ring
    HEARD_SIZE,
) = range(14)
CALLS = LINE  # so far, closed or open
SAMPLES = CALLS + 1  # passed on to the run's callback
LAST = CALLS + 2  # ns, when it was called last
AT_ONCE = CALLS + 3  # frames that came at once, up to and with the last call
LAST_SIZE = CALLS + 4
SCRATCH = CALLS + 5  # two
STARVED = CALLS + 7  # calls for which the feeding file was not ready
LOST = CALLS + 8  # frames that the file to write to had no room for
FEED_READ = CALLS + 9  # frames
HEARD_WRITTEN = CALLS + 10
INSIDE = CALLS + 11  # a call is under way
MOST = CALLS + 12  # frames that came at once since the gate is open
FEED_WRITTEN = 3 * LINE  # by the feeding thread
HEARD_READ = 4 * LINE  # by the writing thread
_HEAD = 5 * LINE

_WORDS = 1 << 40


@intrinsic
def call_c(context, function, source, out, frames, info, flags, user):
    """The PortAudio callback at this address."""

    def code(context, builder, signature, args):
        kinds = [context.get_value_type(kind) for kind in SIGNATURE.args]
        pointer = ir.FunctionType(ir.IntType(32), kinds).as_pointer()
        return builder.call(builder.inttoptr(args[0], pointer), args[1:])

    return types.int32(types.int64, *SIGNATURE.args), code


@compiled
def at_once(h, began, n):
    """Frames that came at once, this call's n among them.

    A call within a quarter of the time that the sound of the one before lasts belongs to it: a
    device in step with its clock leaves all of that time, a host that hands over several blocks
    next to none.
    """
    together = (began - h[LAST]) * h[RATE] < h[LAST_SIZE] * 250_000_000
    h[AT_ONCE] = n + (h[AT_ONCE] if together else 0)
    h[LAST], h[LAST_SIZE] = began, n
    return h[AT_ONCE]


@compiled
def _note(h, began, n):
    k = h[LOG] + 2 * (h[CALLS] & (LOGGED - 1))
    h[k], h[k + 1] = began, n


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
    n = np.int64(frames)
    began = now(h[SCRATCH : SCRATCH + 2])
    _note(h, began, n)
    together = at_once(h, began, n)
    h[INSIDE] = 1
    fence()
    block = load_acquire(base + 8 * BLOCK)
    code = np.int32(CONTINUE)
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
            flags = flags | MORE_AT_ONCE
        code = call_c(h[CALLBACK], source, out, frames, info, flags, pointer_to(block))
        if h[HEARD_SIZE] > 0:
            _hear(h, f32, n)
        samples = h[SAMPLES] + n
        store_release(base + 8 * SAMPLES, samples)
        if samples >= load_acquire(base + 8 * END):
            code = np.int32(COMPLETE)
    store_release(base + 8 * INSIDE, 0)
    store_release(base + 8 * CALLS, h[CALLS] + 1)
    return code


class Gate:
    """The gate's memory, and both ends of its rings for Python.

    `inputs` and `outputs` are the run's channels. `feed` and `heard`: seconds of ring for a file
    that takes the device's place, 0 where the device itself has that end.
    """

    def __init__(self, rate: int, inputs: int, outputs: int, feed: float = 0, heard: float = 0):
        feed_size, heard_size = _size(feed, rate), _size(heard, rate)
        words = _HEAD + 2 * LOGGED
        floats, places = 2 * words, []
        for count in (
            feed_size * inputs,
            heard_size * outputs,
            LARGEST * inputs * bool(feed),
            LARGEST * outputs * bool(heard),
        ):
            places.append(floats)
            floats += -(-count // 32) * 32
        self._i64 = np.zeros(-(-floats // 2), np.int64)
        self._f32 = self._i64.view(np.float32)
        h = self._i64
        h[[RATE, INPUTS, OUTPUTS, LOG]] = rate, inputs, outputs, _HEAD
        h[[FEED, HEARD, SOURCE, TARGET]] = places
        h[[FEED_SIZE, HEARD_SIZE]] = feed_size, heard_size
        h[[DELIVERY, END]] = 1 << 62
        h[CALLBACK] = callback.address

    @property
    def address(self) -> int:
        """The user data of its callback."""
        return self._i64.ctypes.data

    @property
    def calls(self) -> int:
        return int(self._i64[CALLS])

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
        until = time.monotonic() + 1
        time.sleep(0.001)  # a call that has begun is seen, however late its mark arrives
        while self._i64[INSIDE] and time.monotonic() < until:
            time.sleep(0.001)
        return not self._i64[INSIDE]

    def log(self) -> tuple[np.ndarray, np.ndarray]:
        """(ns, frames) of the latest calls, oldest first."""
        calls = self.calls
        kept = np.arange(max(0, calls - LOGGED + 1), calls) & (LOGGED - 1)
        entries = self._i64[_HEAD : _HEAD + 2 * LOGGED].reshape(-1, 2)[kept]
        return entries[:, 0], entries[:, 1]

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
