from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtsep.audio.fifo import Fifo


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), max_size=60))
def test_what_goes_in_comes_out_in_order(steps):
    fifo, into, out = Fifo(2, 20), 0, 0
    for put, n in steps:
        if put and into - out + n <= 20:
            fifo.put(np.stack([np.arange(into, into + n), -np.arange(into, into + n)]))
            into += n
        elif not put and n <= into - out:
            expected = np.arange(out, out + n)
            assert np.array_equal(fifo.take(n), np.stack([expected, -expected]))
            out += n
        assert len(fifo) == into - out


def test_too_much_is_refused():
    fifo = Fifo(1, 4)
    fifo.put(np.ones((1, 3)))
    with pytest.raises(ValueError, match="do not fit"):
        fifo.put(np.ones((1, 2)))
    with pytest.raises(ValueError, match="are waiting"):
        fifo.take(4)
    fifo.clear()
    assert len(fifo) == 0
