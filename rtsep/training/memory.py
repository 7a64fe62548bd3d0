"""What makes a step of training on a CPU faster before PyTorch is loaded."""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of mallopt, in glibc's malloc.h


def be_frugal() -> None:
    """Keeps memory that was used once, and threads asleep that wait for each other.

    A step frees and takes hundreds of large tensors; each taken from the system anew costs a page
    fault per 4 KiB, which together take longer than the arithmetic. Threads that wait by spinning
    take a core from whatever else runs. Both are settings of the process: they must be made
    before PyTorch is imported, and where they can't be made nothing is lost but time.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if sys.platform == "linux":
        try:
            mallopt = ctypes.CDLL(None).mallopt
        except AttributeError:
            return  # another C library
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
