"""What makes a step of training on a CPU faster before PyTorch is loaded."""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of mallopt, in glibc's malloc.h
_SPINS = "100000"  # of GNU's OpenMP: some milliseconds


def be_frugal() -> None:
    """Keeps memory that was used once, and lets threads sleep that wait for each other for long.

    A step frees and takes hundreds of large tensors; each taken from the system anew costs a page
    fault per 4 KiB, which together take longer than the arithmetic. Threads that wait by spinning
    take a core from whatever else runs; but those that fall asleep at once make two threads slower
    than one in a recurrence, where they meet every 30 µs. Both are settings of the process: they
    must be made before PyTorch is imported, and where they can't be made nothing is lost but time.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
    if sys.platform == "linux":
        try:
            mallopt = ctypes.CDLL(None).mallopt
        except AttributeError:
            return  # another C library
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
