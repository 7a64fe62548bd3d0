"""Mixtures made on the fly. Mixture `i` of a seed is always the same, whoever makes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rtsep.errors import Failure
from rtsep.training.augment import Filters, envelope, stretched
from rtsep.training.corpus import RATE, Corpus, Recording
from rtsep.training.noises import machine
from rtsep.training.recipe import Mixing

_FADE = 160  # samples over which a piece of a recording begins and ends


class Pool:
    """Recordings of one kind, drawn level by level (class, source): each by the root of its time.

    So one class, or one speaker, does not rule the others by its hours alone.
    """

    def __init__(
        self, recordings: Sequence[Recording], levels: Sequence[Callable[[Recording], str]]
    ) -> None:
        recordings = [r for r in recordings if r.length > 0]
        if not recordings:
            raise Failure("the data folder holds too little: of one kind nothing is left to train")
        self.recordings = tuple(recordings)
        chances = np.ones(len(self.recordings))
        for depth in range(len(levels) + 1):
            # Shares of the groups at this depth within the group that holds them.
            outer = [tuple(level(r) for level in levels[:depth]) for r in self.recordings]
            inner = [
                (*group, levels[depth](r) if depth < len(levels) else r.path)
                for group, r in zip(outer, self.recordings, strict=True)
            ]
            times: dict[tuple, float] = {}
            for group, r in zip(inner, self.recordings, strict=True):
                times[group] = times.get(group, 0) + r.length
            totals: dict[tuple, float] = {}
            for group, time in times.items():
                totals[group[:-1]] = totals.get(group[:-1], 0) + time**0.5
            for i, group in enumerate(inner):
                chances[i] *= times[group] ** 0.5 / totals[group[:-1]]
        self._cumulative = np.cumsum(chances) / chances.sum()
        self._within: dict[str, list[Recording]] = {}
        for r in self.recordings:
            self._within.setdefault(levels[0](r), []).append(r)
        self._outermost = levels[0]

    def draw(self, rng: np.random.Generator) -> Recording:
        return self.recordings[int(np.searchsorted(self._cumulative, rng.random(), "right"))]

    def alike(self, rng: np.random.Generator, recording: Recording) -> Recording:
        """Another of the same outermost group, or the same again where there is no other."""
        group = self._within[self._outermost(recording)]
        return group[int(rng.integers(len(group)))]


class Mixer:
    """Draws mixtures of a voice and a background from recordings.

    Args:
        recordings: those to draw from, of all kinds.
        seed: together with a mixture's number it fixes the mixture.
    """

    def __init__(
        self, corpus: Corpus, recordings: Sequence[Recording], mixing: Mixing, seed: int = 0
    ) -> None:
        self.corpus, self.mixing, self.seed = corpus, mixing, seed
        self.length = round(mixing.seconds * RATE)
        self.filters = Filters(self.length, RATE, seed)
        kinds = {k: [r for r in recordings if r.kind == k] for k in ("speech", "noise", "music")}
        self.voices = Pool(kinds["speech"], [lambda r: r.source])
        self.noises = Pool(kinds["noise"], [lambda r: r.label, lambda r: r.source])
        self.tracks = Pool(kinds["music"], [lambda r: r.group, lambda r: r.source])
        self._kinds = list(mixing.kinds)
        chances = np.array([mixing.kinds[kind] for kind in self._kinds])
        self._chances = chances / chances.sum()

    def stems(self, number: int) -> np.ndarray:
        """(2, samples) float32: voice and background, whose sum is mixture `number`."""
        rng = np.random.default_rng([self.seed, number])
        mixing = self.mixing
        alone = rng.random()
        speaker = self.voices.draw(rng)
        voice = self._voice(rng, speaker) if alone >= mixing.alone else None
        background = (
            self._background(rng, speaker)
            if voice is None or alone < 1 - mixing.alone / 2
            else None
        )
        return self._levelled(rng, voice, background)

    def batch(self, number: int, size: int) -> np.ndarray:
        """(size, 2, samples): mixtures `number * size` to `number * size + size - 1`."""
        return np.stack([self.stems(number * size + i) for i in range(size)])

    def _voice(self, rng: np.random.Generator, speaker: Recording) -> np.ndarray:
        sound = self._played(rng, self.voices, speaker, self.mixing.voice_speed)
        in_room = rng.random() < self.mixing.voice_room
        return self.filters.apply(sound, rng, strong=False, room=in_room)

    def _background(self, rng: np.random.Generator, speaker: Recording) -> np.ndarray:
        sound = _normalised(self._sound(rng, speaker))
        if rng.random() < self.mixing.second:
            gain = 10 ** (rng.uniform(-12, 0) / 20)
            sound = sound + np.float32(gain) * _normalised(self._sound(rng, speaker))
        return sound

    def _sound(self, rng: np.random.Generator, speaker: Recording) -> np.ndarray:
        """One background of a kind that is drawn, before its level."""
        kind = self._kinds[int(np.searchsorted(np.cumsum(self._chances), rng.random()))]
        room = rng.random() < self.mixing.noise_room
        if kind == "stationary":
            sound = self.filters.noise(rng)
            if rng.random() < 0.5:
                sound = sound * envelope(rng, self.length, 3, int(rng.integers(3, 12)))
            return sound
        if kind == "machine":
            return machine(rng, self.filters, RATE)
        if kind == "babble":
            room = rng.random() < self.mixing.babble_room
            return self.filters.apply(self._babble(rng, speaker), rng, strong=False, room=room)
        pool = self.tracks if kind == "music" else self.noises
        sound = self._played(rng, pool, pool.draw(rng), self.mixing.noise_speed)
        return self.filters.apply(sound, rng, strong=kind == "recorded", room=room)

    def _babble(self, rng: np.random.Generator, speaker: Recording) -> np.ndarray:
        sound = np.zeros(self.length, np.float32)
        least, most = self.mixing.babble
        for _ in range(int(rng.integers(least, most + 1))):
            other = self.voices.draw(rng)
            for _ in range(10):
                if other.source != speaker.source:
                    break
                other = self.voices.draw(rng)
            gain = 10 ** (rng.uniform(-6, 0) / 20)
            sound += np.float32(gain) * _normalised(self._pieces(rng, self.voices, other, 0))
        return sound

    def _played(
        self, rng: np.random.Generator, pool: Pool, first: Recording, speed: tuple[float, float]
    ) -> np.ndarray:
        factor = rng.uniform(*speed)
        extra = int(self.length * factor) + 8 - self.length
        return stretched(self._pieces(rng, pool, first, extra), factor, self.length)

    def _pieces(
        self, rng: np.random.Generator, pool: Pool, first: Recording, extra: int
    ) -> np.ndarray:
        """`length + extra` samples of a recording, and of others alike where it ends before."""
        sound = np.empty(self.length + extra, np.float32)
        at, recording = 0, first
        while at < len(sound):
            wanted = len(sound) - at
            start = int(rng.integers(max(recording.length - wanted, 0) + 1))
            piece = self.corpus.read(recording, start, wanted)
            part = sound[at : at + len(piece)]
            np.multiply(piece, np.float32(1 / 32768), out=part)
            fade = min(_FADE, len(part) // 2)
            if at:
                part[:fade] *= _RAMP[:fade]
            if at + len(piece) < len(sound):
                part[len(part) - fade :] *= _RAMP[:fade][::-1]
            at += len(piece)
            recording = pool.alike(rng, recording)
        return sound

    def _levelled(
        self,
        rng: np.random.Generator,
        voice: np.ndarray | None,
        background: np.ndarray | None,
    ) -> np.ndarray:
        stems = np.zeros((2, self.length), np.float32)
        snr = rng.uniform(*self.mixing.snr)
        if voice is not None:
            stems[0] = _normalised(voice)
        if background is not None:
            stems[1] = _normalised(background) * np.float32(10 ** (-snr / 20))
        for stem in stems:
            if rng.random() < self.mixing.partial:
                self._interrupt(rng, stem)
        mixture = stems.sum(0)
        power = np.sqrt(np.mean(mixture**2))
        gain = 10 ** (rng.uniform(*self.mixing.level) / 20) / max(power, 1e-6)
        gain = min(gain, 0.99 / max(np.abs(mixture).max(), 1e-6))
        stems *= np.float32(gain)
        return stems

    def _interrupt(self, rng: np.random.Generator, stem: np.ndarray) -> None:
        """Silences the stem before, or after, a moment."""
        at = int(rng.uniform(0.1, 0.7) * len(stem))
        part = stem if rng.random() < 0.5 else stem[::-1]
        part[:at] = 0
        part[at : at + _FADE] *= _RAMP[: len(part[at : at + _FADE])]


_RAMP = np.linspace(0, 1, _FADE, dtype=np.float32)


def _normalised(x: np.ndarray) -> np.ndarray:
    """`x` at a power of 1; silence stays silence."""
    power = np.sqrt(np.dot(x, x) / len(x))
    return x * np.float32(1 / power) if power > 1e-5 else np.zeros_like(x)
