"""Mixtures: always the same for a number, at the levels that were asked for, of every kind."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from tiny_data import RATE

from rtsep.errors import Failure
from rtsep.training.corpus import Recording, decode_some, open_corpus
from rtsep.training.data import Mixer, Pool
from rtsep.training.feed import feed
from rtsep.training.recipe import Mixing

PLAIN = Mixing(seconds=0.5, partial=0, alone=0)


@pytest.fixture(scope="module")
def corpus(data):
    return open_corpus(data)


def mixer(corpus, mixing=PLAIN, seed=0):
    return Mixer(corpus, corpus.recordings, mixing, seed)


def decibels(x):
    return 10 * np.log10(np.mean(x.astype(np.float64) ** 2))


def test_a_number_and_a_seed_fix_a_mixture(corpus):
    first, again, other = mixer(corpus), mixer(corpus), mixer(corpus, seed=1)
    first.stems(3)
    np.testing.assert_array_equal(first.stems(7), again.stems(7))
    assert not np.array_equal(first.stems(7), first.stems(8))
    assert not np.array_equal(first.stems(7), other.stems(7))
    np.testing.assert_array_equal(first.batch(2, 3)[1], first.stems(7))


def test_a_worker_makes_the_same_batches(corpus):
    source = mixer(corpus)
    here, there = feed(source, 2, 5, workers=0), feed(source, 2, 5, workers=1)
    for number in (5, 6):
        batch = next(here)
        assert batch.shape == (2, RATE // 2, 2, 1)
        np.testing.assert_array_equal(batch, next(there))
        stems = batch[..., 0].numpy().transpose(0, 2, 1)
        np.testing.assert_array_equal(stems, source.batch(number, 2))


@pytest.mark.parametrize("kind", ["recorded", "music", "babble", "stationary", "machine"])
def test_level_and_snr_are_those_asked_for(corpus, kind):
    source = mixer(corpus, replace(PLAIN, snr=(4, 4), level=(-40, -40), kinds={kind: 1.0}))
    for number in range(4):
        stems = source.stems(number)
        assert stems.dtype == np.float32 and np.isfinite(stems).all()
        assert decibels(stems[0]) - decibels(stems[1]) == pytest.approx(4, abs=0.01)
        assert decibels(stems.sum(0)) == pytest.approx(-40, abs=0.01)


def test_ranges_are_filled_and_kept(corpus):
    source = mixer(corpus, replace(PLAIN, snr=(-10, 15), level=(-50, -30)))
    stems = [source.stems(number) for number in range(60)]
    ratios = [decibels(s[0]) - decibels(s[1]) for s in stems]
    levels = [decibels(s.sum(0)) for s in stems]
    assert -10.01 < min(ratios) < -5 and 10 < max(ratios) < 15.01
    assert -50.01 < min(levels) < -46 and -34 < max(levels) < -29.99


def test_nothing_clips(corpus):
    source = mixer(corpus, replace(PLAIN, level=(0, 0)))
    assert max(np.abs(source.stems(number).sum(0)).max() for number in range(8)) <= 0.991


def test_now_and_then_one_is_alone_or_not_always_there(corpus):
    source = mixer(corpus, replace(PLAIN, alone=1.0))
    assert all(not source.stems(number)[0].any() for number in range(3))
    source = mixer(corpus, replace(PLAIN, alone=0.5))
    silent = Counter(tuple(stem.any() for stem in source.stems(n)) for n in range(40))
    assert silent.keys() == {(True, True), (True, False), (False, True)}
    source = mixer(corpus, replace(PLAIN, partial=1.0))
    for stem in source.stems(1):
        assert (stem == 0).mean() > 0.09 and stem.any()


def test_groups_are_drawn_by_the_root_of_their_time():
    recordings = [Recording(f"{i}", "speech", "", "talkative", "", 0, 100) for i in range(100)]
    recordings.append(Recording("x", "speech", "", "quiet", "", 0, 100))
    pool, rng = Pool(recordings, [lambda r: r.source]), np.random.default_rng(0)
    drawn = Counter(pool.draw(rng).source for _ in range(4000))
    assert drawn["talkative"] / drawn["quiet"] == pytest.approx(10, rel=0.2)
    assert all(pool.alike(rng, recordings[0]).source == "talkative" for _ in range(20))


def test_a_kind_without_recordings_is_said(corpus):
    speech = [r for r in corpus.recordings if r.kind == "speech"]
    with pytest.raises(Failure, match="too little"):
        Mixer(corpus, speech, PLAIN)


def test_the_decoded_file_is_made_once_and_holds_what_the_files_hold(data, tmp_path):
    heard = []
    corpus = open_corpus(data, tmp_path, lambda done, all_: heard.append((done, all_)))
    assert heard[-1] == (11, 11)
    again = open_corpus(data, tmp_path, lambda done, all_: heard.append(None))
    assert None not in heard and again.recordings == corpus.recordings
    some = decode_some(data, {"noise/dog.wav"})
    (recording,) = some.recordings
    np.testing.assert_array_equal(some.read(recording), corpus.read(corpus[recording.path]))
    np.testing.assert_array_equal(corpus.read(recording=corpus[recording.path], length=5).size, 5)
    assert not list(tmp_path.glob(".*"))


def test_what_is_no_data_folder_is_said(data, tmp_path):
    with pytest.raises(Failure, match="index.csv: No such file"):
        open_corpus(tmp_path)
    (tmp_path / "index.csv").write_text("a,b\n1,2\n")
    with pytest.raises(Failure, match="is no index"):
        open_corpus(tmp_path)
    with pytest.raises(Failure, match="has no recording nothing.wav"):
        decode_some(data, {"nothing.wav"})
    index = (data / "index.csv").read_text()
    (tmp_path / "index.csv").write_text(index)
    with pytest.raises(Failure, match="can't read .*s0_0.wav"):
        open_corpus(tmp_path, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())
