"""What measures a round trip: a compiled callback that plays a sound and records what comes back.

It stands behind the gate. Alone it plays the sound itself; with a run behind it, the sound takes
the place of the run's input, and the run plays. Either way it records one channel of the device's
input, from the same frame on. Its memory is this process's own: int64 slots, then float32.
"""

from __future__ import annotations

import numpy as np
from numba import carray

from rtsep.live.callback import CONTINUE, SIGNATURE
from rtsep.live.door import call_c
from rtsep.live.intake import LARGEST
from rtsep.machine import c_function, pointer_to

(
    RUN,  # address of the run's block: 0 where there is none
    CALLBACK,  # address of the run's callback
    INPUTS,  # channels of the device
    OUTPUTS,
    CHANNEL,  # of the input: the one that is recorded
    POSITION,  # frames so far
    LENGTH,  # frames of the sound, and of the recording
    SOUND,  # where things lie, in words of 4 bytes
    KEPT,
    SOURCE,
) = range(10)
_HEAD = 16
_WORDS = 1 << 40


@c_function(SIGNATURE)
def probe(source, out, frames, info, flags, user):
    h = carray(user, (_WORDS,), np.int64)
    f32 = carray(user, (2 * _WORDS,), np.float32)
    n, at, length = np.int64(frames), h[POSITION], h[LENGTH]
    inputs, outputs = h[INPUTS], h[OUTPUTS]
    heard = carray(source, (n * inputs,), np.float32)
    for i in range(min(n, length - at)):
        f32[h[KEPT] + at + i] = heard[i * inputs + h[CHANNEL]]
    code = np.int32(CONTINUE)
    if h[RUN] != 0:
        for i in range(n * inputs):
            t = at + i // inputs
            f32[h[SOURCE] + i] = f32[h[SOUND] + t] if t < length else np.float32(0)
        x = pointer_to(h.ctypes.data + 4 * h[SOURCE])
        code = call_c(h[CALLBACK], x, out, frames, info, flags, pointer_to(h[RUN]))
    else:
        played = carray(out, (n * outputs,), np.float32)
        for i in range(n * outputs):
            t = at + i // outputs
            played[i] = f32[h[SOUND] + t] if t < length else np.float32(0)
    h[POSITION] = at + n
    return code


class Probe:
    """Plays `sound` (samples,) through `outputs` channels, and records input `channel` of `inputs`
    for as long."""

    def __init__(self, sound: np.ndarray, inputs: int, outputs: int, channel: int):
        n, floats = len(sound), 2 * _HEAD
        self._i64 = np.zeros(_HEAD + n + LARGEST * inputs // 2 + 1, np.int64)
        self._f32 = self._i64.view(np.float32)
        h = self._i64
        h[[INPUTS, OUTPUTS, CHANNEL, LENGTH]] = inputs, outputs, channel, n
        h[[SOUND, KEPT, SOURCE]] = floats, floats + n, floats + 2 * n
        self._f32[floats : floats + n] = sound

    @property
    def address(self) -> int:
        """The user data of its callback."""
        return self._i64.ctypes.data

    @property
    def heard(self) -> np.ndarray:
        """(samples,): what was recorded, silence where it has not got to."""
        h = self._i64
        return self._f32[h[KEPT] : h[KEPT] + h[LENGTH]].copy()

    def before(self, callback_address: int, block_address: int) -> None:
        """From now on the sound is this run's input."""
        self._i64[[CALLBACK, RUN]] = callback_address, block_address
