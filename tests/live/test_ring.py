"""Rings: against a model with whatever hypothesis draws, and between two processes."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtsep.errors import Failure, WrongCall
from rtsep.live.layout import CAPTURE, INVALID, JUMPED, PLAYED, STEMS_A, STEMS_B, VALID, Block
from rtsep.live.ring import NOT_YET, OK, OVERRUN, Ring


def small_block(**changes):
    return Block.create(
        **{"rate": 1000, "channels": 1, "stems": 2, "block": 4, "latency": 8, "seconds": 0.05}
        | changes
    )


OPERATION = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 150), st.sampled_from([VALID, INVALID])),
    st.tuples(st.just("skip"), st.integers(0, 200), st.just(JUMPED)),
    st.tuples(st.just("read"), st.integers(-90, 30), st.integers(1, 70)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(OPERATION, max_size=25))
def test_against_a_model(operations):
    """Frame t holds t, or what it held before a skip; old ones are gone, later ones not there."""
    with small_block() as block:
        ring = Ring(block, STEMS_A)
        assert (ring.capacity, ring.width) == (64, 2)
        frames, flags, end = {}, {}, 0
        for what, a, b in operations:
            if what == "write":
                x = np.arange(end, end + a, dtype=np.float32)[:, None] + [0, 0.5]
                ring.write(x.astype(np.float32), b)
                frames |= {end + i: end + i for i in range(a)}
                flags |= {end + i: b for i in range(a)}
                end += a
            elif what == "skip":
                ring.skip(end + a, b)
                flags |= {end + i: b for i in range(a)}
                end += a
            else:
                start = end + a
                status, got, marks = ring.read(start, b)
                if start + b > end:
                    assert status == NOT_YET
                elif max(start, 0) < end - 64 and start + b > 0:
                    assert status == OVERRUN
                else:
                    assert status == OK
                    for i, t in enumerate(range(start, start + b)):
                        assert marks[i] == (VALID if t < 0 else flags[t])
                        if t < 0:
                            assert not got[i].any()
                        elif t in frames:
                            assert list(got[i]) == [t, t + 0.5]
            assert ring.written == end


def test_rings_do_not_overlap():
    with small_block(channels=3) as block:
        rings = [Ring(block, r) for r in (CAPTURE, STEMS_A, STEMS_B, PLAYED)]
        for k, ring in enumerate(rings):
            ring.write(np.full((ring.capacity, ring.width), k + 1, np.float32), k + 1)
        for k, ring in enumerate(rings):
            status, frames, flags = ring.read(0, ring.capacity)
            assert status == OK and (flags == k + 1).all() and (frames == k + 1).all()


READER = """
import sys, time
import numpy as np
from rtsep.live.layout import CAPTURE, Block
from rtsep.live.ring import NOT_YET, OK, OVERRUN, Ring

block = Block.attach(sys.argv[1])
ring = Ring(block, CAPTURE)
frames, flags = np.empty((96, 2), np.float32), np.empty(96, np.uint8)
ring.read_into(0, frames, flags)
print("ready", flush=True)
t, good, lost, end = 0, 0, 0, int(sys.argv[2])
while t + 96 <= end:
    status = ring.read_into(t, frames, flags)
    if status == NOT_YET:
        continue
    if status == OVERRUN:
        lost += 1
        t = max(t + 96, ring.written - ring.capacity // 2)
        continue
    ramp = (np.arange(t, t + 96) % 65536).astype(np.float32)
    assert (frames[:, 0] == ramp).all() and (frames[:, 1] == -ramp).all(), t
    assert (flags == 1 + (np.arange(t, t + 96) >> 6) % 3).all(), t
    good += 1
    t += 96
print(good, lost)
"""


@pytest.mark.parametrize("seconds", [0.25, 30.0], ids=["overrun", "roomy"])
def test_two_processes(seconds):
    """What a reader in another process accepts is whole, however fast the producer overwrites."""
    total = 640_000
    with small_block(channels=2, seconds=seconds) as block:
        reader = subprocess.Popen(
            [sys.executable, "-c", READER, block.name, str(total)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert reader.stdout.readline() == "ready\n"
        ring = Ring(block, CAPTURE)
        ramp = (np.arange(total) % 65536).astype(np.float32)
        x = np.stack([ramp, -ramp], 1)
        for k in range(0, total, 64):
            ring.write(x[k : k + 64], 1 + (k >> 6) % 3)
        out, _ = reader.communicate(timeout=60)
        assert reader.returncode == 0
        good, lost = map(int, out.split())
        assert good > 0
        print("accepted", good, "overrun", lost)


def test_attach_survives_its_readers():
    """A reader that ends does not take the memory with it."""
    with small_block() as block:
        code = f"from rtsep.live.layout import Block; Block.attach({block.name!r}).close()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        Block.attach(block.name).close()
    with pytest.raises(Failure, match="no shared-memory block"):
        Block.attach(block.name)


def test_refusals():
    with pytest.raises(WrongCall):
        small_block(stems=17)
    with pytest.raises(WrongCall):
        small_block(outputs=33)
