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

import numpy as np

from rtsep import passage
from rtsep.audio.filters import find as find_filter
from rtsep.audio.rates import check_rate
from rtsep.audio.resampling import Resampler
from rtsep.engines import calls
from rtsep.errors import Failure, WrongCall
from rtsep.full_band import FullBand
from rtsep.passage import Passage


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
    and became 0), `steps` of the engine, and `resets` (rows of it that gave NaN or infinity: their
    stems are 0 and their state is fresh); `passage`, what compiled code runs it by.

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
        kept = [i for i, name in enumerate(spec.stems) if name != spec.remainder]
        shared = full_band and rate > spec.rate and bool(kept)
        # What the model hears passes too: what is above it is what it leaves of the sound.
        streams = len(kept) + shared

        name = None if rate == spec.rate else filter
        self._to_model = Resampler(rate, spec.rate, channels, name)
        half_width = self._to_model.half_width
        self._from_model = Resampler(
            spec.rate,
            rate,
            streams * channels,
            name,
            delay=-half_width - Fraction(spec.latency, spec.rate),
        )
        model = Fraction(spec.latency * rate, spec.rate)
        # Samples are whole: the one that lies a fraction beyond the filter's end is not needed.
        self.delay = floor(2 * half_width * rate + model)
        self.parts = {"resample": self.delay - model, "model": model}
        self._ratio = Fraction(rate, spec.rate)
        self.period = lcm(spec.chunk * self._ratio.numerator, self._ratio.denominator)
        self.period //= self._ratio.denominator
        self.latency = self._latency()

        at = np.zeros(passage.COUNTS, np.int64)
        errors: list[BaseException] = []

        # What compiled code calls must not know the pipeline, or that would wait for the garbage
        # collection, with all its memory, when it is let go of.
        def failed(error: BaseException) -> None:
            errors.append(error)
            at[passage.FAILED] = 1

        step = calls.of(engine, failed)
        mend = calls.through(_mending(engine, at, step.stems, self._ratio), failed)
        self._errors, self._called = errors, (step.owner, mend)
        self._closed = False
        most = ceil(spec.chunk * self._ratio) + 1  # samples out of a chunk
        heard = ceil(passage.PIECE / self._ratio) + 1  # samples in of a piece
        band = find_filter(filter).passband * spec.rate
        self._shares = FullBand(rate, band, streams * shared, channels, most * shared)
        self.passage = Passage(
            at=at,
            ns=np.zeros(passage.LATEST, np.int64),
            step=step.by_address,
            mend=(calls.address(mend), 0, 0),
            kept=np.array(kept, np.int64),
            rest=spec.stems.index(spec.remainder),
            mixture=step.mixture,
            stems=step.stems,
            to_model=self._to_model.state,
            from_model=self._from_model.state,
            sound=np.zeros((channels, passage.PIECE), np.float32),
            heard=np.zeros((channels, heard), np.float32),
            made=np.zeros((streams, channels, spec.chunk), np.float32),
            back=np.zeros((streams, channels, most), np.float32),
            dry=_ring(channels, self.latency + passage.PIECE),
            low=_ring(channels, spec.latency + spec.chunk),
            late=spec.latency,
            shared=shared,
            shares=self._shares.state,
        )
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

    @property
    def bad_input(self) -> int:
        return int(self.passage.at[passage.BAD_INPUT])

    @property
    def resets(self) -> int:
        return int(self.passage.at[passage.RESETS])

    @property
    def steps(self) -> int:
        return int(self.passage.at[passage.STEPS])

    def reset(self) -> None:
        """As new: the next input sample is number 0. Counters go on."""
        self.engine.reset()
        self._to_model.reset()
        self._from_model.reset()
        self._shares.reset()
        self.passage.at[
            [passage.FILLED, passage.CHUNKS, passage.TAKEN, passage.GIVEN, passage.INVALID_UNTIL]
        ] = 0
        self.valid = True

    def computable(self, n: int) -> int:
        """How many output samples there are after `n` input samples."""
        chunk = self.engine.spec.chunk
        return self._from_model.computable(self._to_model.computable(n) // chunk * chunk)

    def process(self, block: np.ndarray) -> np.ndarray:
        """The next output samples (stems, channels, m), m = computable(all input) - all output.

        `block` is (channels, n), full scale ±1, with any n, 0 included. Raises what the engine
        raises, and `Failure` after `close`.
        """
        if self._closed:
            raise Failure("this pipeline was closed")
        if block.ndim != 2 or block.shape[0] != self.channels:
            raise WrongCall(f"a block of shape {block.shape}, not ({self.channels}, samples)")
        sound = np.ascontiguousarray(block, np.float32)
        n, at = sound.shape[1], self.passage.at
        begin = int(at[passage.GIVEN])
        count = self.computable(int(at[passage.TAKEN]) + n) - begin
        out = np.empty((len(self.stems), self.channels, count), np.float32)
        passage.process(self.passage, sound, n, out)
        self.check()
        self.valid = begin >= int(at[passage.INVALID_UNTIL])
        return out

    def check(self) -> None:
        """Raises what a step has raised since the last time; for who runs the passage itself."""
        if self._errors:
            self.passage.at[passage.FAILED] = 0
            raise self._errors.pop()

    def flush(self, total: int) -> np.ndarray:
        """The end: what is missing of `total` output samples, with silence after the input.

        Then only `reset` makes sense.
        """
        at = self.passage.at
        missing = total - int(at[passage.GIVEN])
        silence = max(0, total + self.latency - int(at[passage.TAKEN]))
        return self.process(np.zeros((self.channels, silence), np.float32))[:, :, :missing]

    def close(self) -> None:
        self._closed = True
        self.engine.close()

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


def _mending(engine, at: np.ndarray, stems: np.ndarray, ratio: Fraction) -> Callable[[], None]:
    """What makes rows as new that are not finite after a step."""

    def mend() -> None:
        rows = [row for row, sound in enumerate(stems) if not np.isfinite(sound).all()]
        stems[rows] = 0
        engine.reset(rows)
        at[passage.RESETS] += len(rows)
        # The engine starts anew with what comes now, and the output resampler looks back as far as
        # the input resampler delayed it: sound from now on is as at a start.
        heard = int(at[passage.CHUNKS]) * engine.spec.chunk
        at[passage.INVALID_UNTIL] = ceil(heard * ratio)

    return mend


def _ring(channels: int, least: int) -> np.ndarray:
    return np.zeros((channels, 1 << (least - 1).bit_length()), np.float32)
