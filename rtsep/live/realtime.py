"""Asks the system for what keeps a thread punctual, and says what it got.

Linux: SCHED_FIFO where that is allowed, else RealtimeKit, which desktops have for this. macOS: the
time-constraint policy. Windows: the multimedia class scheduler's "Pro Audio".
"""

from __future__ import annotations

import ctypes
import gc
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

_RTKIT = "org.freedesktop.RealtimeKit1"
_RTKIT_PRIORITY = 20  # the highest that RealtimeKit grants
_RTKIT_LIMIT = 200_000  # µs: a thread that it made must not compute longer without a rest
_LEAST_LOCK = 1 << 30  # bytes: below that, locking all that is to come makes allocations fail
_NORMAL = "normal scheduling (real-time refused)"
PROCESSORS = Path("/sys/devices/system/cpu")
SLOW = {"powersave", "conservative"}  # governors that let steps wait for the clock to rise


def prepare(priority: int) -> str:
    """All of the below, for a process whose calling thread has to be punctual; what was granted."""
    settled, locked = settle(), stay()
    return ", ".join(
        part for part in (hurry(priority), locked, settled, governor()) if part is not None
    )


def hurry(priority: int) -> str:
    """Real-time scheduling for the calling thread; a few words on what was granted."""
    if sys.platform == "darwin":
        return _hurry_mac()
    if sys.platform == "win32":
        return _hurry_windows()
    if not hasattr(os, "sched_setscheduler"):
        return "normal scheduling"
    # Of the thread itself: 0 and a thread's own number mean the same.
    return _hurry_linux(0, priority)


def hurry_threads(threads: Iterable[int], priority: int) -> str | None:
    """The same for threads of this process that a library started (by the system's number).

    Those that run in real time already are left as they are. None: there was nothing to do.
    """
    words = None
    for thread in threads:
        try:
            if os.sched_getscheduler(thread) == os.SCHED_OTHER:
                words = _hurry_linux(thread, priority)
        except OSError:
            pass  # it has ended
    return words


def stay() -> str:
    """Keeps this process's memory from being paged out."""
    if sys.platform != "linux":
        return "memory not locked"
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))
    # What is touched stays (MCL_ONFAULT): libraries map ten times as much as a step ever reads.
    everything = 1 | 4  # MCL_CURRENT
    if hard == resource.RLIM_INFINITY or hard >= _LEAST_LOCK or os.geteuid() == 0:
        everything |= 2  # MCL_FUTURE
    locked = ctypes.CDLL(None).mlockall(everything) == 0
    return "memory locked" if locked else "memory not locked (refused)"


def settle() -> str:
    """No garbage collection from here on: what is there stays."""
    gc.collect()
    gc.freeze()
    gc.disable()
    return "garbage collection off"


def governors(root: Path = PROCESSORS) -> set[str]:
    """How the processor's cores choose their clock; empty where the system does not tell."""
    found = set()
    for file in root.glob("cpu[0-9]*/cpufreq/scaling_governor"):
        try:
            found.add(file.read_text().strip())
        except OSError:
            pass  # a core that is switched off
    return found


def governor(root: Path = PROCESSORS) -> str | None:
    """How the processor chooses its clock, where that is not for speed; else None."""
    slow = sorted(governors(root) & SLOW)
    return f"CPU governor {', '.join(slow)} (performance is more punctual)" if slow else None


def _hurry_linux(thread: int, priority: int) -> str:
    try:
        os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(priority))
        return f"real-time scheduling (FIFO {priority})"
    except OSError:
        pass
    return _ask_rtkit(thread or ctypes.CDLL(None).gettid()) or _NORMAL


def _ask_rtkit(thread: int) -> str | None:
    """RealtimeKit, over the system's bus; None where it isn't there or does not want to."""
    bus = shutil.which("busctl")
    if bus is None:
        return None
    import resource

    # RealtimeKit insists on a limit. Its first half is a warning: the thread then goes on normally.
    before = resource.getrlimit(resource.RLIMIT_RTTIME)
    resource.setrlimit(resource.RLIMIT_RTTIME, (_RTKIT_LIMIT // 2, _RTKIT_LIMIT))
    try:
        signal.signal(signal.SIGXCPU, _relax)
    except ValueError:
        pass  # not in the main thread, where alone handlers can be set
    place = "/" + _RTKIT.replace(".", "/")
    numbers = [os.getpid(), thread, _RTKIT_PRIORITY]
    call = [bus, "call", _RTKIT, place, _RTKIT, "MakeThreadRealtimeWithPID", "ttu"]
    try:
        done = subprocess.run([*call, *map(str, numbers)], capture_output=True, timeout=2)
    except (OSError, subprocess.TimeoutExpired):
        done = None
    if done is not None and done.returncode == 0:
        return f"real-time scheduling (RealtimeKit {_RTKIT_PRIORITY})"
    if os.geteuid() == 0:
        resource.setrlimit(resource.RLIMIT_RTTIME, before)
    return None


def _relax(*_) -> None:
    """A step that does not end must not end the process."""
    # RealtimeKit's flag stays: taking it off would be refused.
    normal = os.SCHED_OTHER | os.SCHED_RESET_ON_FORK
    for thread in os.listdir("/proc/self/task"):
        try:
            os.sched_setscheduler(int(thread), normal, os.sched_param(0))
        except OSError:
            pass


class _Constraint(ctypes.Structure):
    """thread_time_constraint_policy, in ticks of the system's clock."""

    _fields_ = [
        (n, ctypes.c_uint32) for n in ("period", "computation", "constraint", "preemptible")
    ]


def _hurry_mac() -> str:
    system = ctypes.CDLL(None)
    ratio = (ctypes.c_uint32 * 2)()  # numerator and denominator of ns per tick
    system.mach_timebase_info(ctypes.byref(ratio))
    millisecond = 1_000_000 * ratio[1] // ratio[0]
    wish = _Constraint(0, 4 * millisecond, 8 * millisecond, 1)
    thread, constraint_policy = system.mach_thread_self(), 2
    refused = system.thread_policy_set(thread, constraint_policy, ctypes.byref(wish), 4)
    return _NORMAL if refused else "real-time scheduling"


def _hurry_windows() -> str:
    ctypes.windll.winmm.timeBeginPeriod(1)
    try:
        characteristics = ctypes.windll.avrt.AvSetMmThreadCharacteristicsW
    except OSError:
        return _NORMAL
    characteristics.restype = ctypes.c_void_p
    task = ctypes.c_uint32(0)
    granted = characteristics("Pro Audio", ctypes.byref(task))
    return "real-time scheduling (Pro Audio)" if granted else _NORMAL
