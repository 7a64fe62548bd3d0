"""SI-SDR against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rtsep.evaluation.metrics import si_sdr, si_sdr_improvement

TARGET = np.array([1.0, 1.0, 1.0, 1.0])
ACROSS = np.array([1.0, -1.0, 1.0, -1.0])  # at right angles to it


@pytest.mark.parametrize(
    ("estimate", "wanted"),
    [
        (TARGET + ACROSS, 0.0),
        (TARGET + 0.1 * ACROSS, 20.0),
        (5 * TARGET + 0.5 * ACROSS, 20.0),
        (-TARGET - 0.1 * ACROSS, 20.0),
        (TARGET + 2 * ACROSS, -20 * math.log10(2)),
        ([1.0, 1.0, 1.0, 0.0], 10 * math.log10(3)),
        (ACROSS, -math.inf),
        (0 * TARGET, -math.inf),
        (3 * TARGET, math.inf),
    ],
)
def test_by_hand(estimate, wanted):
    assert si_sdr(np.asarray(estimate), TARGET) == pytest.approx(wanted, abs=1e-9)


def test_a_silent_target_has_no_score():
    assert math.isnan(si_sdr(TARGET, 0 * TARGET))


def test_all_channels_count_as_one_signal():
    target = np.stack([TARGET, 0 * TARGET])
    assert si_sdr(target + np.stack([0 * ACROSS, ACROSS]), target) == pytest.approx(0)


def test_improvement_is_over_the_mixture():
    gained = si_sdr_improvement(TARGET + 0.1 * ACROSS, TARGET, TARGET + ACROSS)
    assert gained == pytest.approx(20)
