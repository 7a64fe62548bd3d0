"""Is a sound file complete? libsndfile reads a cut WAV or AIFF as a shorter one and says nothing.

The outer structure of both is a list of chunks: four letters, a size, so many bytes. The chunk
that holds the sound says how long it should be. (RIFF: Microsoft and IBM, "Multimedia Programming
Interface and Data Specifications 1.0"; RF64: EBU Tech 3306; AIFF: Apple, "Audio Interchange File
Format 1.3".)
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

_ORDER = {b"RIFF": "<", b"RF64": "<", b"BW64": "<", b"RIFX": ">", b"FORM": ">"}
_SOUND = (b"data", b"SSND")
_MOST_CHUNKS = 10_000  # a file with more of them before its sound is a hoax
_UNKNOWN = 0xFFFFFFFF  # what is written to a pipe can't go back and fill in its size


def missing_bytes(file: BinaryIO) -> int:
    """How many bytes of sound the header of an open file promises beyond the file's end.

    0 where nothing is missing, and for formats that are not made of chunks.
    """
    end = os.fstat(file.fileno()).st_size
    file.seek(0)
    order = _ORDER.get(file.read(12)[:4])
    if order is None:
        return 0
    place, long_size = 12, None
    for _ in range(_MOST_CHUNKS):
        if place + 8 > end:
            break
        file.seek(place)
        name, size = struct.unpack(order + "4sI", file.read(8))
        if name == b"ds64" and place + 24 <= end:
            long_size = struct.unpack("<QQ", file.read(16))[1]
        if name in _SOUND:
            if size == _UNKNOWN:
                size = long_size or 0
            return max(0, place + 8 + size - end)
        place += 8 + size + size % 2
    return 0
