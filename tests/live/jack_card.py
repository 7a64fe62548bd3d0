"""A JACK server with the dummy driver, and clients on it that are the sound card of a test.

The card's process callback is compiled: whatever Python does in the test, the sound goes on. It is
one client (a duplex card), or a microphone and a loudspeaker as two.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import time
from dataclasses import dataclass

import numpy as np
import pytest
from llvmlite import binding
from numba import carray, cfunc, types

from rtsep.live import child
from rtsep.machine import pointer_to

# Why the tests that need a server are skipped; RTSEP_JACK=required makes that an error.
WHY_NOT = None
try:
    import jack

    if shutil.which("jackd") is None:
        WHY_NOT = "no JACK server (scripts/audio)"
except ImportError:
    WHY_NOT = "no JACK-Client (pip install JACK-Client)"
except OSError:
    WHY_NOT = "no JACK library (scripts/audio)"
if WHY_NOT is None:
    for silenced in (jack.set_error_function, jack.set_info_function):
        silenced(lambda text: None)
    try:
        import sounddevice  # noqa: F401
    except OSError:
        WHY_NOT = "no PortAudio (scripts/audio)"

if WHY_NOT is not None and os.environ.get("RTSEP_JACK") == "required":
    raise RuntimeError(WHY_NOT)
needs_jack = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

# Slots of a client's memory, int64: counts, positions in frames, ports from PORTS on.
_SOURCES, _SINKS, _PLAY, _AT, _LENGTH, _HEARD, _KEPT, _CAPACITY, _GO, _BEGAN, _CLIENT = range(11)
_PORTS = 16
_FLOATS = 64  # of 8 bytes: the sound to play, then what was heard
_WORDS = 1 << 40


def _compiled():
    binding.load_library_permanently(jack._libname)
    buffer = types.ExternalFunction(
        "jack_port_get_buffer", types.voidptr(types.voidptr, types.uint32)
    )

    frame_time = types.ExternalFunction("jack_last_frame_time", types.uint32(types.voidptr))

    @cfunc(types.int32(types.uint32, types.voidptr))
    def process(frames, user):
        h = carray(user, (_WORDS,), np.int64)
        f32 = carray(user, (_WORDS,), np.float32)
        n, sources, sinks = np.int64(frames), h[_SOURCES], h[_SINKS]
        playing = h[_GO] != 0
        if playing and h[_AT] == 0:
            h[_BEGAN] = frame_time(pointer_to(h[_CLIENT]))
        for k in range(sources):
            out = carray(buffer(pointer_to(h[_PORTS + k]), frames), (n,), np.float32)
            for i in range(n):
                t = h[_AT] + i
                inside = playing and t < h[_LENGTH]
                out[i] = f32[h[_PLAY] + t * sources + k] if inside else np.float32(0)
        for k in range(sinks):
            x = carray(buffer(pointer_to(h[_PORTS + sources + k]), frames), (n,), np.float32)
            for i in range(n):
                t = h[_KEPT] + i
                if playing and t < h[_CAPACITY]:
                    f32[h[_HEARD] + t * sinks + k] = x[i]
        if playing:
            h[_AT] += n
            h[_KEPT] += n
        return 0

    return process


@dataclass
class Running:
    """A server that somebody else started."""

    period: int
    rate: int = 48000
    name: str = "default"


class Server:
    """`jackd` with its dummy driver, in a server of its own; use as a context manager.

    JACK keeps eight names, and one whose server was killed until that name is used again: so there
    are few, and the first that nobody uses is taken.
    """

    def __init__(self, period: int, rate: int = 48000):
        self.period, self.rate = period, rate

    def __enter__(self) -> Server:
        self._environment = pytest.MonkeyPatch()
        self._environment.setenv("JACK_NO_START_SERVER", "1")
        for name in (f"rtsep-{k}" for k in range(1, 7)):
            # Real time where that is allowed; without it, what is measured is coarser.
            if not _alive(name) and any(self._start(name, option) for option in ("-R", "-r")):
                self._environment.setenv("JACK_DEFAULT_SERVER", name)
                self.name = name
                return self
        raise RuntimeError("jackd does not start")

    def _start(self, name: str, real_time: str) -> bool:
        driver = ["-d", "dummy", "-r", str(self.rate), "-p", str(self.period)]
        self.process = subprocess.Popen(
            ["jackd", "-n", name, real_time, *driver],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + 5
        while time.monotonic() < until and self.process.poll() is None:
            time.sleep(0.1)
            if _alive(name):
                return True
        self.close()
        return False

    def close(self) -> None:
        self.process.terminate()
        # One that was set free may wait for its clients for long.
        child.end(self.process, patience=3)

    def __exit__(self, *_) -> None:
        self.close()
        self._environment.undo()


def _alive(name: str) -> bool:
    try:
        jack.Client("probe", no_start_server=True, servername=name).close()
        return True
    except jack.JackOpenError:
        return False


class Card:
    """A client: what it plays goes into the run (its microphone), what it hears comes from there.

    `sound` (samples, channels) is played once from `go` on; `heard` is (samples, sinks) from the
    same cycle on. `sinks`: channels of its loudspeaker.
    """

    def __init__(self, server: Server, name: str, sound=None, sinks: int = 0, seconds: float = 30):
        sound = np.zeros((0, 0), np.float32) if sound is None else sound
        samples, sources = sound.shape
        capacity = int(seconds * server.rate)
        floats = 2 * _FLOATS
        self._memory = np.zeros(_FLOATS + (samples * sources + capacity * sinks) // 2 + 1, np.int64)
        self._f32 = self._memory.view(np.float32)
        self._f32[floats : floats + sound.size] = np.ascontiguousarray(sound, np.float32).ravel()
        self._heard = floats + sound.size
        h = self._memory
        h[[_SOURCES, _SINKS, _PLAY, _LENGTH]] = sources, sinks, floats, samples
        h[[_HEARD, _CAPACITY]] = self._heard, capacity
        self.client = jack.Client(name, no_start_server=True, servername=server.name)
        ports = [self.client.outports.register(f"out{k}") for k in range(sources)]
        ports += [self.client.inports.register(f"in{k}") for k in range(sinks)]
        h[_PORTS : _PORTS + len(ports)] = [pointer(p).value for p in ports]
        h[_CLIENT] = pointer(self.client).value
        self._process = _compiled()
        activate(self.client, ports, self._process, h, server.period)

    @property
    def heard(self) -> np.ndarray:
        """(samples, sinks) since `go`."""
        h = self._memory
        n, sinks = int(min(h[_KEPT], h[_CAPACITY])), int(h[_SINKS])
        return self._f32[self._heard : self._heard + n * sinks].reshape(n, sinks).copy()

    @property
    def played(self) -> int:
        """Frames since `go`."""
        return int(self._memory[_AT])

    @property
    def began(self) -> int:
        """The server's frame time at which `go` took effect."""
        return int(self._memory[_BEGAN])

    def go(self) -> None:
        self._memory[_GO] = 1

    def close(self) -> None:
        self.client.deactivate()
        self.client.close()


def activate(client: jack.Client, ports, process, memory: np.ndarray, period: int) -> None:
    """With `process`, which gets `memory`, called by the server itself, and as a card's driver has
    it: what it plays was captured a period ago, what it hears sounds in one. PortAudio takes the
    period off again, so that its latencies count from the server's time."""
    jack._lib.jack_set_process_callback(
        client._ptr,
        jack._ffi.cast("JackProcessCallback", process.address),
        jack._ffi.cast("void *", memory.ctypes.data),
    )
    for port in ports:
        ctypes.CDLL(jack._libname).jack_port_set_latency(pointer(port), period)
    client.activate()


def pointer(thing) -> ctypes.c_void_p:
    """Of a client or a port of JACK-Client's."""
    return ctypes.c_void_p(int(jack._ffi.cast("intptr_t", thing._ptr)))
