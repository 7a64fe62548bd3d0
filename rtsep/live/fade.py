"""Going over a gap without a step.

A signal that stops is continued by its own last 5 ms played backwards under a falling half-cosine:
the first sample of that is the last one that was heard. When the signal returns it rises over
5 ms, at its right time, while what is left of the tail still falls. Both weights add up to one.

The state is five int64 at index s of an array h, and a history of 2 · length frames of float32, so
that what is read backwards is never what is being written. The callback keeps both in the block;
the recorder, which has to draw the same ramps, keeps its own.
"""

from __future__ import annotations

import numpy as np

from rtsep.machine import compiled

# Offsets in the state.
POSITION = 0  # frames so far
TAIL_FROM = 1  # the position at which the signal stopped
TAIL = 2  # how many frames of the tail were played; `length`: it is over
RISE = 3  # how many frames of the rise were played; `length`: fully there
PRESENT = 4


@compiled
def turn(h, s, present, renew):
    """Before some frames: is the signal there? `renew`: it is, but it is another signal."""
    was = h[s + PRESENT]
    if was and (not present or renew):
        h[s + TAIL_FROM] = h[s + POSITION]
        h[s + TAIL] = 0
    if present and (not was or renew):
        h[s + RISE] = 0
    h[s + PRESENT] = present


@compiled
def weights(h, s, fall):
    """(of the signal, of the tail, the tail's frame in the history) for the frame at hand."""
    length = len(fall)
    tail = h[s + TAIL]
    at = (h[s + TAIL_FROM] - 1 - tail) % (2 * length)
    of_tail = fall[tail] if tail < length else np.float32(0)
    if not h[s + PRESENT]:
        return np.float32(0), of_tail, at
    rise = h[s + RISE]
    return np.float32(1) - fall[rise] if rise < length else np.float32(1), of_tail, at


@compiled
def advance(h, s, length):
    """After a frame."""
    h[s + POSITION] += 1
    if h[s + TAIL] < length:
        h[s + TAIL] += 1
    if h[s + PRESENT] and h[s + RISE] < length:
        h[s + RISE] += 1


@compiled
def cover(h, s, history, fall, present, x, y, whole, renew):
    """Frames x (n, width) as they are heard, into y; whole[i]: y[i] is x[i].

    `history` is (2 · len(fall), width). All of x is present, or none of it (then x isn't read).
    `renew`: it is another signal than before.
    """
    length = len(fall)
    turn(h, s, present, renew)
    for i in range(len(y)):
        now, before, at = weights(h, s, fall)
        here = h[s + POSITION] % (2 * length)
        whole[i] = now == 1 and before == 0
        for k in range(y.shape[1]):
            value = history[at, k] * before
            if present:
                value = x[i, k] if whole[i] else value + x[i, k] * now
            y[i, k] = value
            history[here, k] = value
        advance(h, s, length)


def fresh(width: int, fall: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(state, history) of a signal of this width that is fully there."""
    length = len(fall)
    return (
        np.array([0, 0, length, length, 1], np.int64),
        np.zeros((2 * length, width), np.float32),
    )
