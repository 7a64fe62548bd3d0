"""The streaming contract: a network is written once, as a step; offline is that step over all."""

from rtsep.streaming.blockwise import Blockwise, Segment
from rtsep.streaming.composition import Delay, Fork, Pointwise, Residual, Serial, Skip
from rtsep.streaming.layer import StreamingLayer
from rtsep.streaming.state import State, StateSpec, select_rows, without_countdowns
from rtsep.streaming.verify import StreamingError, verify_streaming

__all__ = [
    "Blockwise",
    "Delay",
    "Fork",
    "Pointwise",
    "Residual",
    "Segment",
    "Serial",
    "Skip",
    "State",
    "StateSpec",
    "StreamingError",
    "StreamingLayer",
    "select_rows",
    "verify_streaming",
    "without_countdowns",
]
