"""Sets of mixtures with known stems: drawing a list, rendering it, writing and reading folders.

A set on disk is a folder of cases, each a folder with `mix.wav` and one `STEM.wav` per stem.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rtsep.errors import Failure
from rtsep.training.corpus import RATE, Corpus, Recording

SECONDS = 5
SNRS = (-5, 0, 5, 10)  # dB, in turn
# Each of these is drawn at all four.
_KINDS = (*["noise"] * 4, "music", *["noise"] * 2, "babble") * 2
_TALKERS = (3, 6)  # of babble, least and most


@dataclass(frozen=True)
class Case:
    """One mixture as read from a folder: `mixture` (channels, samples), `stems` by name alike."""

    name: str
    rate: int
    mixture: np.ndarray
    stems: dict[str, np.ndarray]


def draw(recordings: Sequence[Recording], corpus: Corpus, seed: int = 11) -> list[dict[str, str]]:
    """Draws the rows of a list of mixtures: all four SNRs for each kind of background in turn."""
    rng = np.random.default_rng(seed)
    length = SECONDS * RATE
    voices: dict[str, list[Recording]] = {}
    for r in recordings:
        if r.kind == "speech" and r.length >= length:
            voices.setdefault(r.source, []).append(r)
    noises: dict[str, list[Recording]] = {}
    for r in recordings:
        if r.kind == "noise" and r.length >= RATE:
            noises.setdefault(r.label, []).append(r)
    tracks = [r for r in recordings if r.kind == "music"]
    speakers, labels = _deck(rng, sorted(voices)), _deck(rng, sorted(noises))
    tunes = _deck(rng, tracks)
    rows = []
    for number in range(len(_KINDS) * len(SNRS)):
        kind = _KINDS[number // len(SNRS)]
        speaker = next(speakers)
        voice = _place(rng, corpus, _pick(rng, voices[speaker]), length)
        if kind == "noise":
            label = next(labels)
            background = [_place(rng, corpus, _pick(rng, noises[label]), length)]
        elif kind == "music":
            label = "music"
            background = [_place(rng, corpus, next(tunes), length)]
        else:
            label = "babble"
            others = rng.permutation([s for s in sorted(voices) if s != speaker])
            count = int(rng.integers(_TALKERS[0], _TALKERS[1] + 1))
            background = [
                _place(rng, corpus, _pick(rng, voices[str(other)]), length)
                for other in others[:count]
            ]
        rows.append(
            {
                "case": f"{number:02d}-{label}",
                "snr": str(SNRS[number % len(SNRS)]),
                "level": f"{rng.uniform(-33, -23):.1f}",
                "voice": voice,
                "background": " ".join(background),
            }
        )
    return rows


def paths(row: dict[str, str]) -> list[str]:
    """The recordings that a row of a list is made of."""
    return [place.rpartition("@")[0] for place in (row["voice"], *row["background"].split())]


def render(corpus: Corpus, row: dict[str, str]) -> np.ndarray:
    """(2, samples) float32 at 16 kHz: voice and background of one row of a list.

    SNR is over the whole mixture; its level is that of the mixture, and its peak at most -10 dB
    against full scale, so that it can be played 10 dB louder.
    """
    length = SECONDS * RATE
    voice = _at_power(_excerpt(corpus, row["voice"], length), 0)
    background = np.zeros(length)
    for place in row["background"].split():
        background += _at_power(_excerpt(corpus, place, length), 0)
    stems = np.stack([voice, _at_power(background, -float(row["snr"]))])
    mixture = stems.sum(0)
    gain = 10 ** (float(row["level"]) / 20) / np.sqrt(np.mean(mixture**2))
    gain = min(gain, 10 ** (-10 / 20) / np.abs(mixture).max())
    return (gain * stems).astype(np.float32)


def write(folder: Path, stems: np.ndarray, names: Sequence[str], rate: int = RATE) -> None:
    """Writes one case, `stems` (stems, samples); `mix.wav` is their sum. float32 WAV."""
    import soundfile

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, samples in zip(("mix", *names), (stems.sum(0), *stems), strict=True):
            soundfile.write(folder / f"{name}.wav", samples, rate, subtype="FLOAT")
    except (OSError, soundfile.LibsndfileError) as error:
        raise Failure(f"can't write {folder}: {error}") from None


def names(folder: Path) -> list[str]:
    """The names of the cases of a set on disk, sorted."""
    cases = sorted(path.parent.name for path in folder.glob("*/mix.wav"))
    if not cases:
        raise Failure(f"{folder} is no set: it holds no CASE/mix.wav")
    return cases


def read(folder: Path) -> Iterator[Case]:
    """The cases of a set on disk, one after the other, in order of name."""
    import soundfile

    for name in names(folder):
        sounds: dict[str, np.ndarray] = {}
        rates = set()
        for file in sorted((folder / name).glob("*.wav")):
            try:
                samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
            except (OSError, soundfile.LibsndfileError) as error:
                raise Failure(f"can't read {file}: {error}") from None
            sounds[file.stem] = samples.T
            rates.add(rate)
        shapes = {samples.shape for samples in sounds.values()}
        if len(rates) > 1 or len(shapes) > 1:
            raise Failure(f"{folder / name}: its files differ in rate, channels or length")
        mixture = sounds.pop("mix")
        if not sounds:
            raise Failure(f"{folder / name} holds no stem beside mix.wav")
        yield Case(name, rates.pop(), mixture, sounds)


def _deck(rng: np.random.Generator, items: Sequence) -> Iterator:
    """All items in random order, then again in another."""
    while True:
        for at in rng.permutation(len(items)):
            yield items[at]


def _pick(rng: np.random.Generator, recordings: Sequence[Recording]) -> Recording:
    return recordings[int(rng.integers(len(recordings)))]


def _place(rng: np.random.Generator, corpus: Corpus, recording: Recording, length: int) -> str:
    """`PATH@START`, a stretch that is not much quieter than its recording is as a whole."""
    whole = corpus.read(recording).astype(np.float64)
    for _ in range(50):
        start = int(rng.integers(max(recording.length - length, 0) + 1))
        if np.mean(whole[start : start + length] ** 2) > 0.3 * np.mean(whole**2):
            break
    return f"{recording.path}@{start}"


def _excerpt(corpus: Corpus, place: str, length: int) -> np.ndarray:
    """A recording from a sample on; one that is shorter is repeated."""
    path, _, start = place.rpartition("@")
    samples = corpus.read(corpus[path], int(start), length)
    return np.resize(samples, length).astype(np.float64) / 32768


def _at_power(x: np.ndarray, decibels: float) -> np.ndarray:
    return x * (10 ** (decibels / 20) / np.sqrt(np.mean(x**2)))
