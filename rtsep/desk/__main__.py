"""`python -m rtsep.desk SOCKET BLOCK`: started by a run, see `process.py`."""

from __future__ import annotations

import os
import signal
import socket
import sys

from rtsep.desk.app import Desk
from rtsep.errors import Failure
from rtsep.live.layout import Block

_NICE = 5  # the sound comes first


def main() -> int:
    # Before the terminal is ours Ctrl-C is for the run.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(_NICE)
    link = socket.socket(fileno=int(sys.argv[1]))
    try:
        block = Block.attach(sys.argv[2])
    except Failure:
        return 0  # the run is over already
    desk = Desk(block, link)
    desk.run()
    return desk.return_code or 0


if __name__ == "__main__":
    sys.exit(main())
