"""What the system grants: real-time scheduling, locked and shared memory, a steady clock rate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from multiprocessing import shared_memory
from pathlib import Path

from rtsep.doctor.finding import ADVICE, BROKEN, GOOD, Finding
from rtsep.live import realtime

# As the worker asks, in a process of its own, which keeps what it was granted to itself.
_ASK = (
    "import json; from rtsep.live import realtime as r; print(json.dumps([r.hurry(60), r.stay()]))"
)
_LIMITS = (
    "install RealtimeKit (`apt install rtkit`), or put `@audio - rtprio 95` and `@audio - memlock "
    "unlimited` into /etc/security/limits.d/audio.conf, `sudo usermod -aG audio $USER`, and log in "
    "again"
)
_BLOCK = 16 << 20  # bytes: more than a run without a recording takes


def findings() -> list[Finding]:
    return [_real_time(), governor(), _shared_memory()]


def _real_time() -> Finding:
    done = subprocess.run([sys.executable, "-c", _ASK], capture_output=True, text=True, check=True)
    scheduling, memory = json.loads(done.stdout)
    granted = scheduling.startswith("real-time")
    locked = "not locked" not in memory or sys.platform != "linux"
    facts = {"scheduling": granted, "memory_locked": "not locked" not in memory}
    text = f"{scheduling}, {memory}"
    if granted and locked:
        return Finding("real time", GOOD, text, None, facts)
    advice = _LIMITS if sys.platform == "linux" else "end what makes the system refuse it, or go on"
    return Finding("real time", ADVICE, text, advice, facts)


def governor(root: Path = realtime.PROCESSORS) -> Finding:
    found = realtime.governors(root)
    facts = {"governors": sorted(found)}
    if not found:
        text = "the system does not tell how the processor's clock is governed"
        return Finding("processor", GOOD, text, None, facts)
    text = f"CPU governor {', '.join(sorted(found))}"
    if found & realtime.SLOW:
        advice = "sudo cpupower frequency-set -g performance"
        return Finding("processor", ADVICE, text, advice, facts)
    return Finding("processor", GOOD, text, None, facts)


def _shared_memory() -> Finding:
    """A run's rings lie in it."""
    try:
        memory = shared_memory.SharedMemory(create=True, size=_BLOCK)
    except OSError as error:
        reason = error.strerror or os.strerror(error.errno or 0)
        advice = "mount a tmpfs at /dev/shm, or make it larger (containers: --shm-size 256m)"
        return Finding("shared memory", BROKEN, f"{_BLOCK >> 20} MB: {reason}", advice)
    memory.close()
    memory.unlink()
    return Finding("shared memory", GOOD, f"{_BLOCK >> 20} MB to be had")
