"""What a run is, as JSON in its block: for other processes, which know the block's name alone."""

from __future__ import annotations

import json
import time
import zlib

from rtsep.errors import Failure
from rtsep.live.layout import DESCRIPTION, DESCRIPTION_BYTES, Block

_FIRST = (DESCRIPTION + 1) * 8
_MOST = DESCRIPTION_BYTES - 8


def describe(block: Block, facts: dict) -> None:
    """Puts `facts` in place of what was there. One process does that: the block's owner."""
    text = json.dumps(facts, separators=(",", ":")).encode()
    if len(text) > _MOST:
        raise Failure(f"a run's description of {len(text)} bytes: at most {_MOST}")
    block.u8[_FIRST : _FIRST + len(text)] = bytearray(text)
    block.i64[DESCRIPTION] = _seal(text)


def seal(block: Block) -> int:
    """Another number for another description; 0 where there is none yet."""
    return int(block.i64[DESCRIPTION])


def described(block: Block) -> dict:
    """A copy of what was described last; `{}` where nothing was.

    Of a run (see `Session`): "model", "engine", "stems", "primary", "remainder", "slots" (where the
    controls of each stem stand), "rate" and "model_rate" (Hz), "channels", "chunk" (samples of the
    model's rate), "latency" (by part, in samples of `rate`), "deadline_ms", "device" (as
    `rtsep run --json` prints it), "routed" and "pid".
    """
    until = time.monotonic() + 1
    while True:
        sealed = seal(block)
        if not sealed:
            return {}
        text = bytes(block.u8[_FIRST : _FIRST + (sealed >> 32)])
        if _seal(text) == sealed:
            return json.loads(text)
        if time.monotonic() > until:
            raise Failure(f"the description in block {block.name!r} is damaged")
        time.sleep(0.001)  # it is being replaced


def _seal(text: bytes) -> int:
    return len(text) << 32 | zlib.crc32(text)
