"""Sound files that are none: what is wrong with each, its bytes, and what is said of it."""

from __future__ import annotations

import struct

import numpy as np


def wav(samples: bytes, rate=16000, channels=1, declared=None, extra=b"") -> bytes:
    """A 16 bit WAV by hand; `declared` is what its header says of the length of its sound."""
    width = 2 * channels
    speed = rate * width % 2**32
    form = struct.pack("<HHIIHH", 1, channels, rate, speed, width % 2**16, 16)
    size = len(samples) if declared is None else declared
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + extra
    body += b"data" + struct.pack("<I", size) + samples
    return b"RIFF" + struct.pack("<I", min(len(body) + size - len(samples), 2**32 - 1)) + body


PCM = np.arange(1000, dtype="<i2").tobytes()
WIDE = wav(PCM * 65, channels=65)
BROKEN = {
    "empty": (b"", "empty"),
    "one byte": (b"R", "can be read"),
    "text": (b"this is no sound" * 100, "can be read"),
    "header cut": (wav(PCM)[:30], "can be read"),
    "no data": (wav(PCM)[:36], "can be read|no samples"),
    "sound cut": (wav(PCM)[:-1], "cut short, 1 bytes"),
    "half": (wav(PCM)[: 44 + 1000], "cut short, 1000 bytes"),
    "promises a gigabyte": (wav(PCM, declared=10**9), "cut short"),
    "no samples": (wav(b""), "no samples"),
    "rate 0": (wav(PCM, rate=0), "0 Hz|can be read"),
    "rate 1": (wav(PCM, rate=1), "1 Hz"),
    "rate 4 GHz": (wav(PCM, rate=2**32 - 1), "Hz|can be read"),
    "channels 0": (wav(PCM, channels=0), "can be read"),
    "channels 65": (WIDE, "65 channels"),
    "channels 65535": (wav(PCM * 200, channels=65535)[:-1], "can be read|cut short"),
    "chunk beyond the end": (wav(PCM, extra=b"LIST" + struct.pack("<I", 2**31)), "read|samples"),
    "flac header alone": (b"fLaC" + bytes(40), "can be read|no samples"),
}
