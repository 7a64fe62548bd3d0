"""The round trip of a device, measured: out at the output, back in at the input.

Sweeps are played, recorded, and found again in the recording. Without the engine that is the
device's own round trip; with it, the sweeps are a run's input, what is played is one stem of them,
and what is looked for is that stem as the same engine gives it offline, sample for sample.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rtsep.audio.delay import SURE, locate
from rtsep.audio.levels import MOST_DB, from_db, to_db
from rtsep.audio.sweep import sweep
from rtsep.errors import Failure, WrongCall
from rtsep.live.callback import callback
from rtsep.live.device_clock import DeviceClock
from rtsep.live.device_stream import Plan, plan
from rtsep.live.devices import INPUT, OUTPUT, NoDevices, choose, default, devices
from rtsep.live.latency import Latency
from rtsep.live.options import Options
from rtsep.live.probe import Probe, probe
from rtsep.live.session import Session
from rtsep.live.wiring import Wiring
from rtsep.live.worker import build

TIMES = 3  # sweeps: two of them have to agree
LEAD, SWEEP, RING = 0.25, 0.5, 0.1  # s: before the first, of each, and what an engine adds to it
LONGEST = 1.0  # s: no device takes longer than this beyond what is declared
TOGETHER = 1.0  # samples: sweeps that agree
_INTO_THE_ENGINE = 0.25  # of full scale
_GUARD = 0.01  # s
_CLIPPED = 0.999


@dataclass(frozen=True)
class RoundTrip:
    """`measured` in samples, of `agreeing` sweeps; `spread` between them; `level` of what came in
    at its loudest (dBFS); `confidence`, see `rtsep.audio.delay`. `declared`: what the parts sum up
    to, None where the host does not tell."""

    rate: int
    measured: float
    spread: float
    agreeing: int
    confidence: float
    level: float
    inverted: bool
    declared: int | None

    @property
    def difference(self) -> float | None:
        return None if self.declared is None else self.measured - self.declared

    def as_json(self) -> dict:
        return {
            "measured": round(self.measured, 3),
            "declared": self.declared,
            "difference": None if self.declared is None else round(self.difference, 3),
            "spread": round(self.spread, 3),
            "sweeps": self.agreeing,
            "confidence": round(self.confidence, 1),
            "level_db": round(self.level, 1),
            "inverted": self.inverted,
        }


def ends(
    input: str | None,
    output: str | None,
    host_api: str | None = None,
    channel: int = 0,
    rate: int | None = None,
    block: int = 0,
) -> Plan:
    """The stream between two devices, as a user names them. Raises `WrongCall` where an end is
    none."""
    among = devices(host_api)
    source = choose(input, INPUT, among) if input is not None else None
    sink = choose(output, OUTPUT, among, beside=source) if output is not None else None
    source = source or default(INPUT, among, sink)
    sink = sink or default(OUTPUT, among, source)
    for device, kind in ((source, INPUT), (sink, OUTPUT)):
        if device is None:
            raise NoDevices(f"there is no {kind} device: a round trip takes both")
    if channel >= source.inputs:
        raise WrongCall(f"--channel {channel + 1}: device {source} has {source.inputs} inputs")
    return plan(source, sink, channel + 1, min(2, sink.outputs), rate, block, clocks="one")


class Course:
    """The sweeps one after the other, so far apart that `longest` samples are no doubt."""

    def __init__(self, rate: int, longest: int):
        self.rate, self.longest = rate, longest
        self._long = round((SWEEP + RING) * rate)
        apart = self._long + longest
        self.starts = [round(LEAD * rate) + k * apart for k in range(TIMES)]
        self.sound = np.zeros(self.starts[-1] + apart, np.float32)
        tone = sweep(rate, SWEEP)
        for start in self.starts:
            self.sound[start : start + len(tone)] = tone

    def find(self, looked_for: np.ndarray, heard: np.ndarray, declared: int | None, ends: Plan):
        """The `RoundTrip` of what was to be heard (samples,), in what was. Raises `Failure` where
        it is not there."""
        loudest = float(np.abs(heard).max())
        if loudest == 0:
            raise Failure(
                f"digital silence from {ends.input}: unmute it or permit the microphone; nothing "
                f"of {ends.output} arrives there"
            )
        matches = []
        for start in self.starts:
            reference = looked_for[start : start + self._long].astype(np.float64)
            window = heard[start : start + self._long + self.longest].astype(np.float64)
            guard = round(_GUARD * self.rate)
            matches.append(locate(reference, window, self.longest, guard))
        sure = [match for match in matches if match.sure]
        if len(sure) < 2:
            most = max(match.confidence for match in matches)
            raise Failure(
                f"the sweep did not come back: {ends.input} hears {to_db(loudest):.0f} dB at most, "
                f"and nothing like it (confidence {most:.1f}, it takes {SURE:g}); is there "
                f"a cable from {ends.output}, or are its loudspeakers up? --level plays louder"
            )
        middle = sorted(match.delay for match in sure)[len(sure) // 2]
        close = [match for match in sure if abs(match.delay - middle) <= TOGETHER]
        delays = [match.delay for match in sure]
        if len(close) < 2:
            raise Failure(
                f"the round trip is not the same twice: {min(delays):.0f} to {max(delays):.0f} "
                "samples; the host loses sound, or its two ends have clocks of their own"
            )
        if loudest >= _CLIPPED:
            raise Failure(f"{ends.input} clips: turn it down, or play softer with --level")
        delays = [match.delay for match in close]
        return RoundTrip(
            rate=self.rate,
            measured=float(np.median(delays)),
            spread=max(delays) - min(delays),
            agreeing=len(close),
            confidence=min(match.confidence for match in close),
            level=to_db(loudest),
            inverted=close[0].gain < 0,
            declared=declared,
        )


class ProbedClock(DeviceClock):
    """A device's clock with a probe between it and the run; or with no run at all."""

    def __init__(self, plan: Plan, channel: int):
        self._probe: Probe | None = None
        self._channel = channel
        super().__init__(plan)

    def measure(self, sound: np.ndarray) -> None:
        """What the probe is to play; with a run, before that starts."""
        self._probe = Probe(sound, self.plan.inputs, self.plan.outputs, self._channel)

    @property
    def heard(self) -> np.ndarray:
        return self._probe.heard

    def let_in(self) -> None:
        if self._block is not None:
            self._probe.before(callback.address, self._block.address)
        self._gate.open(self._probe.address, self._delivery.most, probe.address)

    def play(self, sound: np.ndarray) -> np.ndarray:
        """Plays (samples,) with no run, and what is heard meanwhile."""
        self._delivery = self.observe()
        self.measure(sound)
        self._gate.end = len(sound)
        self.let_in()
        if not self.join(len(sound) / self.plan.rate + 10):
            raise Failure(f"{self.plan} does not come to an end")
        return self.heard


def device_alone(ends: Plan, channel: int, level: float) -> RoundTrip:
    """Without the engine. `level`: the sweep's peak, full scale is 1."""
    clock = ProbedClock(ends, channel)
    try:
        course = Course(ends.rate, sum(clock.latency() or ()) + round(LONGEST * ends.rate))
        sound = np.float32(level) * course.sound
        heard = clock.play(sound)
        told = clock.latency()  # of the stream that has played
    finally:
        clock.close()
    return course.find(sound, heard, None if told is None else sum(told), ends)


def with_engine(
    ends: Plan, channel: int, level: float, options: Options, progress=lambda text: None
) -> tuple[RoundTrip, Latency, dict]:
    """With a run in the path: the round trip, the parts that it declares, and its summary.

    Heard is the primary stem, or where that is the remainder, which never passes the resampler,
    the first other one. Of `options` it takes model, engine, chunk, queue and factory.
    """
    pipeline = build(options.job(ends.rate, 1), progress)
    try:
        longest = round(LONGEST * ends.rate) + 2 * pipeline.latency
        course = Course(ends.rate, longest)
        fed = np.float32(_INTO_THE_ENGINE) * course.sound
        stem, expected = _expected(pipeline, fed)
    finally:
        pipeline.close()
    loudest = float(np.abs(expected).max())
    if loudest * from_db(MOST_DB) < level:
        raise Failure(
            f"{options.model} leaves nothing of a sweep in {stem} ({to_db(loudest):.0f} dB): take "
            "another --model, or --no-engine"
        )
    gain = level / loudest
    run = replace(
        options, blocks=ends.block or None, gains={stem: gain}, solo=(stem,), fade_up=0.0,
        ceiling=None, limit=len(fed), on_device_loss="stop",
    )  # fmt: skip
    wiring = Wiring(ends.inputs, (channel,), ends.outputs, {})
    clock = ProbedClock(ends, channel)
    try:
        clock.measure(fed)
        with Session(
            None, None, ends.rate, 1, run, progress, wiring=wiring, device=clock
        ) as session:
            session.start()
            session.join(len(fed) / ends.rate + 10)
            summary = session.finish()
            heard, latency = clock.heard, session.latency
    finally:
        clock.close()
    if summary["errors"]:
        raise Failure(summary["errors"][0])
    declared = latency.total if latency.told else None
    return course.find(gain * expected, heard, declared, ends), latency, summary


def _expected(pipeline, fed: np.ndarray) -> tuple[str, np.ndarray]:
    """The stem that will be heard, and its sound (samples,) for what is fed in."""
    stem = pipeline.primary
    if stem == pipeline.remainder and len(pipeline.stems) > 1:
        stem = next(name for name in pipeline.stems if name != pipeline.remainder)
    sound = fed[None]
    parts = [pipeline.process(sound), pipeline.flush(len(fed))]
    return stem, np.concatenate(parts, axis=2)[pipeline.stems.index(stem), 0]
