"""The shared-memory block: the one place that says what lies where.

Everything that the callback, the worker and the readers (recorder, meters, status) share is one
block of shared memory, seen through four arrays over the same bytes: int64, float64, float32 and
uint8. A constant below is an index ("slot") into the int64 or float64 array; slots that different
threads write lie on lines of their own, so that no two of them fight for a cache line.

    geometry      fixed before the run: rate, channels, block, internal latency, ring descriptors
    indices       how far each ring is reserved and written, every one on its own line
    controls      what the listener wants: gains, mutes, solos, wet, bypass; who is active; stop
    description   what the run is, as JSON, for other processes (see `description.py`)
    routing       which device channel feeds which channel, what each output channel plays
    counters      of the callback, of the worker
    histograms    how long callbacks and steps took
    private       what the callback remembers from one block to the next
    semaphore     wakes the worker (where the system can keep one in shared memory)
    rings         capture, stems A, stems B, played: float32 frames, and one flag byte per frame

Ring frames are addressed by absolute sample time (see `ring.py`). The capture ring holds the
mixture, `channels` floats a frame; a stem ring holds `room · channels` floats a frame, slot by
slot. Each stem has a slot, by name, so that workers with different models share controls and rings;
a slot that a worker has no stem for is silent. The played ring holds no floats: its flag says, for
every sample that went out, which stem ring it was made of (1, 2), which one it was going over to
(3, 4), or 0 for a miss.
"""

from __future__ import annotations

import sys
from multiprocessing import resource_tracker, shared_memory

import numpy as np

from rtsep.errors import Failure, WrongCall

MAGIC = 0x7274736570
VERSION = 5
LINE = 16  # int64 per cache line: 128 bytes, the longest in use
MAX_STEMS = 16
MAX_CHANNELS = 32
BINS = 512
DESCRIPTION_BYTES = 8192
RELEASE_TIME = 0.1  # s, of the limiter

# Flags of the frames in a stem ring; of several the highest counts.
VALID, IDLE, JUMPED, INVALID = 1, 2, 3, 4
# What an output channel plays: nothing, the mix, or (STEM + k) stem k alone.
SILENT, MIX, STEM = -1, 0, 1
# What is heard when stems are missing.
DRY, SILENCE = 0, 1
# Who is heard, beside 0 and 1 for the stem rings: nobody, by intent.
NOBODY = 2
# The worker, as the parent sees it; AWAITED: it is dead, and another one on its way.
STARTING, RUNNING, DEAD, AWAITED = 0, 1, 2, 3
# Why a block missed its stems; counted in slots MISSES + cause.
CAUSES = (
    "worker late",
    "worker dead",
    "worker jumped",
    "delivery grown",
    "device xrun",
    "invalid sound",
)
LATE, WORKER_DEAD, WORKER_JUMPED, GROWN, XRUN, INVALID_SOUND = range(len(CAUSES))

_end = 0


def _lines(slots: int) -> int:
    """Takes whole lines for this many slots; the first one's index."""
    global _end
    first = _end
    _end += -(-slots // LINE) * LINE
    return first


# Geometry.
_g = _lines(20)
(
    G_MAGIC,
    G_VERSION,
    RATE,
    CHANNELS,  # of the separation
    INPUTS,  # channels of the device
    OUTPUTS,
    STEMS,  # slots in use; grows
    BLOCK,  # the largest block that was agreed on
    LATENCY,  # internal, in samples of `rate`
    FADE,  # length of fades and ramps: 5 ms in samples
    ON_MISS,
    HISTORY,  # index into float32: the last 2 · FADE corrections of each output channel
    FALL,  # index into float32: the falling half-cosine, FADE values
    WAKE,  # the semaphore to post: its byte in the block, or its address (see machine.py)
    SIZE,  # bytes
    FADE_UP,  # samples over which the output rises when the run begins, or a device is back
    CROSS,  # length of what leads from one worker to the next: 20 ms in samples
) = range(_g, _g + 17)

# Ring descriptors, 8 slots each: what follows is the offset inside one.
DATA, WIDTH, CAPACITY, FLAGS, RESERVED, WRITTEN = range(6)
_d = _lines(4 * 8)
CAPTURE, STEMS_A, STEMS_B, PLAYED = range(_d, _d + 32, 8)
RINGS = (CAPTURE, STEMS_A, STEMS_B, PLAYED)

# Indices: a line for each ring's "reserved up to", and for each ring's "written up to".
_RESERVED = tuple(_lines(1) for _ in RINGS)
_WRITTEN = tuple(_lines(1) for _ in RINGS)

# Controls, written by the parent: int64, then float64 tables.
_c = _lines(8)
(
    EPOCH,  # the number of the worker that is heard: counts those that this run has had
    ACTIVE,  # the stem ring that is heard: 0 for A, 1 for B; or NOBODY
    FINISH,  # the callback's next return ends the stream
    STOP,  # the worker ends
    WORKER,  # STARTING, RUNNING, DEAD or AWAITED
    PATIENCE,  # ms that a callback waits for its stems: 0 on a clock that can't wait
    IDLE_AFTER,  # samples of silence after which the worker rests: 0 for never
    COMPANY,  # 1 + the stem ring of the worker beside the one that is heard; 0: there is none
    NEXT_LATENCY,  # what the internal latency is to become, while nobody is heard
    RISE_FROM,  # the clock time from which on the output rises
) = range(_c, _c + 10)
GAIN = _lines(MAX_STEMS)
MUTE = _lines(MAX_STEMS)
SOLO = _lines(MAX_STEMS)
WET = _lines(5)
BYPASS = WET + 1
INPUT_GAIN = WET + 2
CEILING = WET + 3  # of the limiter; infinite: there is none
UNTOUCHED = WET + 4  # int64: nobody has chosen what is heard, so the primary stem is soloed

DESCRIPTION = _lines(DESCRIPTION_BYTES // 8)  # its length and checksum in one, then the text

# Routing, fixed before the run.
IN_CHANNEL = _lines(MAX_CHANNELS)  # for each channel: which of the device's
OUT_BUS = _lines(MAX_CHANNELS)  # for each device channel: SILENT, MIX or STEM + k
OUT_CHANNEL = _lines(MAX_CHANNELS)  # ... and which channel of it

# Counters of the callback.
_k = _lines(9 + len(CAUSES))
(
    CALLBACKS,
    XRUNS,
    BAD_INPUT,
    LAST_MISS,
    CALLBACK_MAX,
    CLIPPED_IN,  # samples at full scale or beyond, before the input gain
    CLIPPED_OUT,  # ... that went out
    LIMITED,  # samples that the limiter held down to its ceiling
    LAST_SOUND,  # the clock time up to which the input was not all zeros
) = range(_k, _k + 9)
MISSES = _k + 9
# Peaks of late, falling by 20 dB a second; float64.
IN_PEAK = _lines(2)
OUT_PEAK = IN_PEAK + 1

# Counters of the worker that is heard.
_w = _lines(12)
(
    STEPS,
    BUSY,  # ns spent in resampling and steps
    PROCESSED,  # samples taken in
    JUMPS,
    RESETS,  # outputs that were not finite
    STEP_MAX,
    POSITION,  # how far the worker has read the capture ring
    IDLED,  # samples that it let go by resting
    RESTING,  # whether it does
) = range(_w, _w + 9)

# Counts on as long as the worker that fills stem ring A (B) gets round to what it has to do.
BEAT_A, BEAT_B = _lines(1), _lines(1)

# The clock time up to which all is on tape, by the recorder; NOT_RECORDED where there is none.
RECORDED = _lines(1)
NOT_RECORDED = 1 << 62

CALLBACK_HISTOGRAM = _lines(BINS)
STEP_HISTOGRAM = _lines(BINS)

# Private to the callback.
FADE_STATE = _lines(8)
RAMP_LEFT = _lines(MAX_STEMS + 1)  # one ramp for each slot, and the last for wet
RAMP_VALUE = _lines(MAX_STEMS + 1)  # float64, as the next two
RAMP_STEP = _lines(MAX_STEMS + 1)
RAMP_TARGET = _lines(MAX_STEMS + 1)
INPUT_RAMP = _lines(4)  # of the input gain: frames left, then float64 value, step, target
LIMITING = _lines(2)  # whether any of the limiter's gains is below 1, then float64 RELEASE
RELEASE = LIMITING + 1
LIMIT_GAIN = _lines(MAX_STEMS + 1)  # float64, for each bus
LIMIT_HOLD = _lines(MAX_STEMS + 1)
SCRATCH = _lines(8)  # two int64 for the clock, then:
LAST_ACTIVE = SCRATCH + 2
CROSS_LEFT = SCRATCH + 3  # frames in which the ring CROSS_FROM still fades
CROSS_FROM = SCRATCH + 4
DRY_LEFT = SCRATCH + 5  # frames in which dry at the latency DRY_FROM still fades
DRY_FROM = SCRATCH + 6

SEMAPHORES = (_lines(1) * 8, _lines(1) * 8)  # of each stem ring's worker, as offsets in bytes

_HEAD = _end


class Block:
    """One block of shared memory. `create` it, pass its `name` on, `attach` to it elsewhere."""

    def __init__(self, memory: shared_memory.SharedMemory, owner: bool):
        self._memory, self._owner = memory, owner
        # Python would close it again at its end, and complain where arrays still look at it.
        self._unmap, memory.close = memory.close, lambda: None
        size = memory.size // 8 * 8
        self.i64 = np.frombuffer(memory.buf, np.int64, size // 8)
        self.f64 = self.i64.view(np.float64)
        self.f32 = self.i64.view(np.float32)
        self.u8 = self.i64.view(np.uint8)

    @classmethod
    def create(
        cls,
        *,
        rate: int,
        channels: int,
        stems: int,
        block: int,
        latency: int,
        inputs: int | None = None,
        outputs: int | None = None,
        on_miss: int = DRY,
        fade_up: int = 0,
        seconds: float = 2.0,
        room: int | None = None,
    ) -> Block:
        """A block whose rings hold at least `seconds`, and well more than the latency.

        `inputs` and `outputs` are the device's channel counts (default: `channels`). All gains
        are 1, the limiter's ceiling is full scale, everything is routed straight through, nothing
        is active but stem ring A. Over the first `fade_up` samples the output rises. There are
        slots for `room` stems, or for `stems` alone.
        """
        inputs, outputs, room = inputs or channels, outputs or channels, room or stems
        if not (0 < stems <= room <= MAX_STEMS and max(channels, inputs, outputs) <= MAX_CHANNELS):
            raise WrongCall(f"at most {MAX_STEMS} stems and {MAX_CHANNELS} channels")
        least = max(int(seconds * rate), 4 * (latency + block))
        capacity = 1 << (least - 1).bit_length()
        fade = max(1, rate // 200)
        floats = 2 * _HEAD
        history, floats = floats, floats + 2 * fade * outputs
        fall, floats = floats, floats + fade
        places = []
        for width in (channels, room * channels, room * channels, 0):
            floats = -(-floats // (2 * LINE)) * 2 * LINE
            places.append((floats, width))
            floats += width * capacity
        flags = 4 * (-(-floats // (2 * LINE)) * 2 * LINE)
        size = flags + len(RINGS) * capacity
        try:
            memory = shared_memory.SharedMemory(create=True, size=size)
        except OSError as error:
            raise Failure(f"no shared memory ({size >> 20} MB): {error.strerror}") from None
        self = cls(memory, owner=True)
        h = self.i64
        h[:_HEAD] = 0
        h[[RATE, CHANNELS, INPUTS, OUTPUTS, STEMS]] = rate, channels, inputs, outputs, stems
        h[[BLOCK, LATENCY, FADE, ON_MISS]] = block, latency, fade, on_miss
        h[RECORDED] = NOT_RECORDED
        h[[HISTORY, FALL, SIZE, FADE_UP]] = history, fall, size, fade_up
        h[[NEXT_LATENCY, CROSS]] = latency, max(1, rate // 50)
        for k, (ring, (data, width)) in enumerate(zip(RINGS, places, strict=True)):
            h[ring : ring + 6] = (
                data,
                width,
                capacity,
                flags + k * capacity,
                _RESERVED[k],
                _WRITTEN[k],
            )
        self.f32[fall : fall + fade] = 0.5 + 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / fade)
        self.f64[GAIN : GAIN + MAX_STEMS] = 1
        self.f64[[WET, INPUT_GAIN, CEILING]] = 1
        self.f64[LIMIT_GAIN : LIMIT_GAIN + MAX_STEMS + 1] = 1
        self.f64[RELEASE] = np.exp(-1 / (RELEASE_TIME * rate))
        h[IN_CHANNEL : IN_CHANNEL + channels] = np.arange(channels) % inputs
        h[OUT_BUS : OUT_BUS + outputs] = MIX
        h[OUT_CHANNEL : OUT_CHANNEL + outputs] = np.arange(outputs) % channels
        h[FADE_STATE + 2 : FADE_STATE + 5] = fade, fade, 1  # fully there: see fade.py
        self.settle()
        h[[G_MAGIC, G_VERSION]] = MAGIC, VERSION
        return self

    @classmethod
    def attach(cls, name: str) -> Block:
        """The block that another process created; its maker removes it."""
        try:
            self = cls(attach(name), owner=False)
        except (OSError, ValueError):
            raise Failure(f"there is no shared-memory block {name!r}") from None
        if self.i64[G_MAGIC] != MAGIC or self.i64[G_VERSION] != VERSION:
            raise Failure(f"{name!r} is no block of this version of rtsep")
        return self

    @property
    def name(self) -> str:
        return self._memory.name

    @property
    def address(self) -> int:
        """Of the first byte, in this process: the callback's user data."""
        return self.i64.ctypes.data

    def settle(self) -> None:
        """Ends all ramps where the controls are now. Only while no callback runs."""
        *gains, wet = desired_gains(self)
        for slots in (RAMP_VALUE, RAMP_TARGET):
            self.f64[slots : slots + MAX_STEMS] = 1
            self.f64[slots : slots + len(gains)] = gains
            self.f64[slots + MAX_STEMS] = wet
        self.i64[RAMP_LEFT : RAMP_LEFT + MAX_STEMS + 1] = 0
        self.i64[INPUT_RAMP] = 0
        self.f64[[INPUT_RAMP + 1, INPUT_RAMP + 3]] = self.f64[INPUT_GAIN]

    def close(self) -> None:
        """Lets go of the memory, and removes it if it was made here. May be called again."""
        self.i64 = self.f64 = self.f32 = self.u8 = None
        try:
            self._unmap()
        except BufferError:
            pass  # somebody still looks at it: it goes with the process
        if self._owner:
            self._owner = False
            try:
                self._memory.unlink()
            except FileNotFoundError:
                pass

    def __enter__(self) -> Block:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def desired_gains(block: Block) -> np.ndarray:
    """What the controls ask for: (stems + 1,), each stem's gain, then wet. Mute beats solo."""
    h, x = block.i64, block.f64
    n = int(h[STEMS])
    solo = x[SOLO : SOLO + n] != 0
    heard = (x[MUTE : MUTE + n] == 0) & (solo | ~solo.any())
    wet = 0.0 if x[BYPASS] else x[WET]
    return np.append(np.where(heard, x[GAIN : GAIN + n], 0.0), wet)


def attach(name: str) -> shared_memory.SharedMemory:
    """Another process's memory, without the resource tracker, which would remove it as soon as one
    reader ends."""
    if sys.version_info >= (3, 13):
        return shared_memory.SharedMemory(name, track=False)
    register = resource_tracker.register
    resource_tracker.register = lambda *_: None
    try:
        return shared_memory.SharedMemory(name)
    finally:
        resource_tracker.register = register
