"""The controls of a model of three stems, on a device for tests."""

from __future__ import annotations

from contextlib import contextmanager

from live_device import Device

from rtsep.errors import Failure
from rtsep.live.controls import Controls
from rtsep.live.description import describe
from rtsep.live.scene import Scene

STEMS = ("drums", "bass", "vocals")
FACTS = {"stems": STEMS, "primary": "vocals", "model": "band", "routed": False}


@contextmanager
def desk(**facts):
    """A device with the controls of a model of three stems."""
    shape = {"rate": 48000, "channels": 1, "stems": len(STEMS), "block": 64, "latency": 0}
    with Device(**shape) as device:
        describe(device.block, FACTS | facts)
        controls = Controls(device.block)
        controls.recall(Scene())
        yield device, controls


def no_swap(name):
    """What a run says that can't have another model."""
    raise Failure(f"no model {name!r} here")
