"""From a device's or a file's samples to stems: resample, run the engine, resample back.

    pipeline = Pipeline(engine, rate=48000, channels=2)
    stems = pipeline.process(block)       # (channels, n) in, (stems, channels, m) out

The live worker, `rtsep.separate` and `rtsep.Stream` all run this, so they give the same samples.
Output sample k is the sound at input sample k: the latency of model and filters is taken out by
the output resampler, which starts that much later in the model's stream, fractions included.
Needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import ceil, floor, lcm
from os import PathLike
from time import perf_counter_ns

import numpy as np

from rtsep.audio.fifo import Fifo
from rtsep.audio.filters import find as find_filter
from rtsep.audio.rates import check_rate
from rtsep.audio.resampling import Resampler
from rtsep.errors import WrongCall
from rtsep.full_band import FullBand

_PIECE = 4096  # input samples taken at once, at most: bounds the memory of long blocks


def build(
    model,
    rate: int,
    channels: int,
    *,
    engine: str = "auto",
    chunk: int | None = None,
    precision: str | None = None,
    filter: str = "standard",
    full_band: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Pipeline:
    """A pipeline with an engine of its own, built for `channels`; see `rtsep.engines.build`.

    Raises what that raises, and `WrongCall` for a rate or channel count that can't be.
    """
    from rtsep import engines
    from rtsep.checkpoints import read_spec
    from rtsep.models import find

    check_rate(rate)
    spec = read_spec(find(model)) if isinstance(model, str | PathLike) else model
    batch = Pipeline.batch_for(spec, channels)
    made = engines.build(
        model, engine, chunk=chunk, batch=batch, precision=precision, progress=progress
    )
    return Pipeline(made, rate, channels, filter, full_band)


class Pipeline:
    """`engine` is driven at its own rate and chunk; `rate` (Hz) and `channels` are the sound's.

    A mono model hears each channel as a row of its batch; any other model hears its own number of
    channels, or mono on all of them, and then gives their mean. Only the stems beside the
    remainder stem are resampled; that one is what they leave of the input. What the input has above
    the model's band is shared among all stems (`full_band`, see `full_band.py`), or all left to it.

    Attributes: `stems`, `primary`, `remainder`; `delay`, the algorithmic delay in samples of
    `rate`: an output sample may depend on that many samples after it, and `parts` says what of it
    is due to what; `latency`, the most samples by which output is ever behind input, chunks
    included; `period`, in samples, after which all phases repeat; `valid`, whether the last output
    is sound from the model throughout; counters `bad_input` (samples that were NaN or infinite
    and became 0) and `resets` (rows of the engine that gave NaN or infinity: their stems are 0 and
    their state is fresh); `on_step`, called with the nanoseconds that a step of the engine took.

    Raises `WrongCall` for a rate or channel count that does not go with the engine.
    """

    def __init__(
        self,
        engine,
        rate: int,
        channels: int,
        filter: str = "standard",
        full_band: bool = False,
    ):
        spec = engine.spec
        batch = self.batch_for(spec, channels)
        if spec.batch != batch:
            raise WrongCall(f"{channels} channels take a batch of {batch}, not of {spec.batch}")
        check_rate(rate)
        self.engine, self.rate, self.channels = engine, rate, channels
        self.stems, self.primary, self.remainder = spec.stems, spec.primary, spec.remainder
        self._kept = [i for i, name in enumerate(spec.stems) if name != spec.remainder]
        self._rest = spec.stems.index(spec.remainder)
        self.on_step: Callable[[int], None] | None = None

        half_width = Fraction(0)
        self._to_model = self._from_model = self._shares = None
        if rate != spec.rate:
            shared = full_band and rate > spec.rate and bool(self._kept)
            self._to_model = Resampler(rate, spec.rate, channels, filter)
            half_width = self._to_model.half_width
            self._from_model = Resampler(
                spec.rate,
                rate,
                # What the model hears passes too: what is above it is what it leaves of the sound.
                (len(self._kept) + shared) * channels,
                filter,
                delay=-half_width - Fraction(spec.latency, spec.rate),
            )
            if shared:
                top = find_filter(filter).passband * spec.rate
                self._shares = FullBand(rate, top, len(self._kept) + 1, channels)
                self._low = Fifo(channels, spec.latency + spec.chunk)
        model = Fraction(spec.latency * rate, spec.rate)
        # Samples are whole: the one that lies a fraction beyond the filter's end is not needed.
        self.delay = floor(2 * half_width * rate + model)
        self.parts = {"resample": self.delay - model, "model": model}
        self._ratio = Fraction(rate, spec.rate)
        self.period = lcm(spec.chunk * self._ratio.numerator, self._ratio.denominator)
        self.period //= self._ratio.denominator
        self.latency = self._latency()

        self._mixture = np.zeros((batch, spec.channels, spec.chunk), np.float32)
        self._stems = np.zeros((batch, len(spec.stems), spec.channels, spec.chunk), np.float32)
        self._dry = Fifo(channels, self.latency + _PIECE)
        self.bad_input = self.resets = 0
        self.reset()

    @staticmethod
    def batch_for(spec, channels: int) -> int:
        """The batch to build an engine of `spec` (of a model or an engine) for.

        Raises `WrongCall` where the model can't take that many channels.
        """
        if channels < 1:
            raise WrongCall(f"{channels} channels; there must be at least 1")
        if spec.channels == 1:
            return channels
        if channels in (1, spec.channels):
            return 1
        raise WrongCall(f"{channels} channels; this model takes 1 or {spec.channels}")

    def reset(self) -> None:
        """As new: the next input sample is number 0. Counters go on."""
        self.engine.reset()
        if self._to_model is not None:
            self._to_model.reset()
            self._from_model.reset()
        if self._shares is not None:
            self._shares.reset()
            # As late as the stems.
            self._low.clear()
            self._low.put(np.zeros((self.channels, self.engine.spec.latency), np.float32))
        self._dry.clear()
        self._filled = 0  # samples of the current chunk
        self._chunks = 0  # chunks that the engine has had
        self._taken = self._given = 0  # samples in and out
        self._invalid_until = 0  # output samples before this one are not all sound from the model
        self.valid = True

    def computable(self, n: int) -> int:
        """How many output samples there are after `n` input samples."""
        chunk = self.engine.spec.chunk
        if self._to_model is None:
            return max(0, n // chunk * chunk - self.engine.spec.latency)
        return self._from_model.computable(self._to_model.computable(n) // chunk * chunk)

    def process(self, block: np.ndarray) -> np.ndarray:
        """The next output samples (stems, channels, m), m = computable(all input) - all output.

        `block` is (channels, n), full scale ±1, with any n, 0 included.
        """
        if block.ndim != 2 or block.shape[0] != self.channels:
            raise WrongCall(f"a block of shape {block.shape}, not ({self.channels}, samples)")
        n = block.shape[1]
        begin = self._given
        count = self.computable(self._taken + n) - begin
        out = np.zeros((len(self.stems), self.channels, count), np.float32)
        for start in range(0, n, _PIECE):
            sound = self._finite(block[:, start : start + _PIECE])
            self._taken += sound.shape[1]
            self._dry.put(sound)
            self._feed(sound, out, begin)
        self.valid = begin >= self._invalid_until
        return out

    def flush(self, total: int) -> np.ndarray:
        """The end: what is missing of `total` output samples, with silence after the input.

        Then only `reset` makes sense.
        """
        missing = total - self._given
        silence = np.zeros((self.channels, max(0, total + self.latency - self._taken)), np.float32)
        return self.process(silence)[:, :, :missing]

    def close(self) -> None:
        self.engine.close()

    def _finite(self, block: np.ndarray) -> np.ndarray:
        sound = np.array(block, np.float32)  # a copy: the caller's block stays as it is
        good = np.isfinite(sound)
        if not good.all():
            self.bad_input += int(good.size - np.count_nonzero(good))
            sound[~good] = 0
        return sound

    def _feed(self, sound: np.ndarray, out: np.ndarray, begin: int) -> None:
        """Steps the engine with what is complete; `out` starts with output sample `begin`."""
        low = sound if self._to_model is None else self._to_model.process(sound)
        chunk = self.engine.spec.chunk
        used = 0
        while used < low.shape[1]:
            n = min(chunk - self._filled, low.shape[1] - used)
            part = low[:, used : used + n]
            target = self._mixture[..., self._filled : self._filled + n]
            target[...] = part[:, None] if target.shape[0] == self.channels else part[None]
            if self._shares is not None:
                self._low.put(part)
            self._filled += n
            used += n
            if self._filled == chunk:
                self._step()
                self._deliver(out, begin)
                self._filled = 0

    def _step(self) -> None:
        start = perf_counter_ns()
        self.engine.process(self._mixture, self._stems)
        if self.on_step is not None:
            self.on_step(perf_counter_ns() - start)
        self._chunks += 1
        if not np.isfinite(self._stems).all():
            rows = [row for row, stems in enumerate(self._stems) if not np.isfinite(stems).all()]
            self._stems[rows] = 0
            self.engine.reset(rows)
            self.resets += len(rows)
            # The engine starts anew with what comes now, and the output resampler looks back as
            # far as the input resampler delayed it: sound from now on is as at a start.
            self._invalid_until = ceil(self._chunks * self.engine.spec.chunk * self._ratio)

    def _deliver(self, out: np.ndarray, begin: int) -> None:
        stems = self._stems[:, self._kept]  # (batch, kept, model's channels, chunk)
        if stems.shape[0] == self.channels:
            stems = stems[:, :, 0].swapaxes(0, 1) if stems.shape[2] == 1 else stems.mean(axis=2)
        else:
            stems = stems[0]
        stems = np.ascontiguousarray(stems).reshape(-1, stems.shape[-1])
        if self._from_model is None:
            late = self._chunks * stems.shape[1] - self.engine.spec.latency - self._given
            sound = stems[:, stems.shape[1] - max(0, late) :]
        else:
            if self._shares is not None:
                stems = np.concatenate([stems, self._low.take(stems.shape[1])])
            sound = self._from_model.process(stems)
        count = sound.shape[1]
        dry = self._dry.take(count)
        sound = sound.reshape(len(sound) // self.channels, self.channels, count)
        if self._shares is not None:
            self._share(sound, dry)
        place = slice(self._given - begin, self._given - begin + count)
        out[self._kept, :, place] = sound[: len(self._kept)]
        rest = out[self._rest, :, place]
        rest[...] = dry
        for stem in self._kept:
            rest -= out[stem, :, place]
        self._given += count

    def _share(self, sound: np.ndarray, dry: np.ndarray) -> None:
        """Shares what `dry` has above the model's band; the last of `sound` is what lies in it."""
        low = sound[-1]
        high = dry - low
        for stem in sound[:-1]:
            low -= stem  # what the remainder has there
        self._shares.share(sound, high)

    def _latency(self) -> int:
        """The most that output is behind input: just before each chunk of a period completes."""
        spec, ratio = self.engine.spec, self._ratio
        first = -(-2 * self.delay // self.period) * self.period + self.period  # all has begun
        most = 0
        for chunk in range(self.period * ratio.denominator // (spec.chunk * ratio.numerator)):
            model_samples = floor(first / ratio) + (chunk + 1) * spec.chunk
            before = floor((model_samples - 1) * ratio)  # with one more, the chunk is complete
            most = max(most, before - self.computable(before))
        return most
