"""Asks the system for what keeps a thread punctual, and says what it got."""

from __future__ import annotations

import ctypes
import gc
import os
import sys


def hurry(priority: int) -> str:
    """Real-time scheduling for the calling thread; a few words on what was granted."""
    if not hasattr(os, "sched_setscheduler"):
        return "normal scheduling"
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except OSError:
        return "normal scheduling (real-time refused)"
    return f"real-time scheduling (FIFO {priority})"


def stay() -> str:
    """Keeps this process's memory from being paged out."""
    if sys.platform != "linux":
        return "memory not locked"
    everything = 1 | 2  # MCL_CURRENT, MCL_FUTURE
    locked = ctypes.CDLL(None).mlockall(everything) == 0
    return "memory locked" if locked else "memory not locked (refused)"


def settle() -> str:
    """No garbage collection from here on: what is there stays."""
    gc.collect()
    gc.freeze()
    gc.disable()
    return "garbage collection off"
