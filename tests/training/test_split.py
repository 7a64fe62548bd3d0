"""What is scored was never heard in training: whole speakers, whole recordings."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_data import RATE, real_data

from rtsep.errors import WrongCall
from rtsep.evaluation import sets
from rtsep.training.corpus import decode_some, read_index, recordings_of
from rtsep.training.split import draw, held_out, parts, read_list


@pytest.fixture(scope="module")
def recordings():
    rows = read_index(real_data())
    return recordings_of(rows, [round(float(row["seconds"]) * RATE) for row in rows])


def test_the_list_is_as_large_as_it_should_be():
    rows = read_list("dev-mixtures")
    labels = [row["case"].split("-", 1)[1] for row in rows]
    assert len(rows) == 64
    assert [int(row["snr"]) for row in rows] == [-5, 0, 5, 10] * 16
    assert len({row["voice"].split("_")[1] for row in rows}) >= 20
    assert len(set(labels) - {"music", "babble"}) >= 12
    assert labels.count("music") >= 4 and labels.count("babble") >= 4


def test_nothing_that_is_scored_is_in_training(recordings):
    training, development = parts(recordings)
    assert len(training) + len(development) == len(recordings)
    assert not {r.path for r in training} & {r.path for r in development}
    # Nor another file of the same speaker, recording or track, of whatever kind.
    assert not {r.source for r in training} & {r.source for r in development}
    scored = {path for row in read_list("dev-mixtures") for path in sets.paths(row)}
    assert scored <= {r.path for r in development}


def test_folds_stay_together_and_unknown_speakers_in_training(recordings):
    training, development = parts(recordings)

    def folds(part):
        return {r.path.rsplit("/", 1)[1].split("_")[1] for r in part if r.group == "esc"}

    assert folds(development) and not folds(training) & folds(development)
    assert not any(r.group == "pico" for r in development)
    assert all(r.source for r in development)


def test_there_is_enough_of_each(recordings):
    _, development = parts(recordings)
    of_kind = {kind: [r for r in development if r.kind == kind] for kind in ("speech", "noise")}
    assert len({r.source for r in of_kind["speech"]}) >= 20
    assert len({r.label for r in of_kind["noise"]}) >= 12


def test_the_lists_are_what_was_drawn(recordings):
    assert frozenset(draw(recordings)) == held_out()
    assert draw(recordings, seed=8) != draw(recordings)
    _, development = parts(recordings)
    corpus = decode_some(real_data(), {r.path for r in development})
    assert sets.draw(corpus.recordings, corpus) == read_list("dev-mixtures")


def test_a_row_is_rendered_at_its_level_and_snr(recordings):
    rows = read_list("dev-mixtures")[:3]
    corpus = decode_some(real_data(), {path for row in rows for path in sets.paths(row)})
    for row in rows:
        stems = sets.render(corpus, row).astype(np.float64)
        power = (stems**2).mean(1)
        mixture = stems.sum(0)
        assert stems.shape == (2, 5 * RATE)
        assert 10 * np.log10(power[0] / power[1]) == pytest.approx(int(row["snr"]), abs=0.01)
        # No louder than the list says, and quieter only where the peak would be above -10 dB.
        level = 10 * np.log10((mixture**2).mean())
        peak = 20 * np.log10(np.abs(mixture).max())
        assert peak < -10 + 0.01
        assert level == pytest.approx(float(row["level"]), abs=0.01) or peak == pytest.approx(-10)


def test_unknown_lists_are_named():
    with pytest.raises(WrongCall, match="no list 'test'; there is dev"):
        read_list("test")
    with pytest.raises(WrongCall, match="no name"):
        read_list("../dev")
