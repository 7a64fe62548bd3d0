"""The judge: does a layer, or a whole model, keep the streaming contract?"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

import torch
from torch import Tensor

from rtsep.streaming.layer import StreamingLayer
from rtsep.streaming.state import State, StateSpec, select_rows

BOUNDS = {torch.float64: 1e-10, torch.float32: 1e-5}


class StreamingError(AssertionError):
    """A layer breaks the contract; the message says which rule, where, and by how much."""


@dataclass
class Report:
    """What was measured: relative errors by check, and the latency in samples or frames out."""

    bound: float
    declared_latency: int
    measured_latency: int | None = None
    errors: dict[str, float] = field(default_factory=dict)

    @property
    def error(self) -> float:
        return max(self.errors.values(), default=0.0)


def verify_streaming(
    layer: StreamingLayer,
    *,
    inputs: tuple[int, ...] | None = None,
    batch: int = 3,
    hops: int = 24,
    onset: int = 5,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    twin: Callable[[Tensor], Tensor] | None = None,
) -> Report:
    """Checks every rule of the contract on random input, and raises at the first that is broken.

    Args:
        inputs: the shape of an input frame, where the layer accepts any.
        batch: rows, at least 2, for the checks of their independence.
        hops: length of the input in hops of the layer.
        onset: an onset of the input, for the check that nothing before it leaves a trace.
        twin: an independent form of the layer over a whole signal, (batch, frames, *inputs) to
            (batch, frames out, *outputs) in public time: the only judge of a declared latency.

    Raises:
        StreamingError: what is broken, and by how much.
    """
    layer = copy.deepcopy(layer).to(dtype).eval()
    judge = _Judge(layer, inputs or layer.inputs or (3,), batch, hops, seed, dtype)
    with torch.no_grad():
        judge.shapes()
        judge.splits()
        judge.rows()
        judge.causality()
        judge.look_ahead()
        judge.before_onset(onset)
        if twin is not None:
            judge.against(twin)
    return judge.report


class _Judge:
    def __init__(
        self,
        layer: StreamingLayer,
        inputs: tuple[int, ...],
        batch: int,
        hops: int,
        seed: int,
        dtype: torch.dtype,
    ) -> None:
        if batch < 2 or hops < 4:
            raise ValueError(f"{batch} rows and {hops} hops given; it takes at least 2 and 4")
        self.layer, self.batch = layer, batch
        self.random = torch.Generator().manual_seed(seed)
        self.inputs, self.dtype = inputs, dtype
        self.x = self._noise(hops * layer.hop)
        self.fresh, latency = layer.initial(batch)
        self.report = Report(BOUNDS[dtype], latency)
        # One step over everything: what all else is compared with.
        self.whole, _ = layer.step(self.x, self.fresh)

    def shapes(self) -> None:
        """A step gives n * hop * ratio frames of one type; states keep shape, type and value."""
        before = [leaf.clone() for leaf in self._leaves(self.fresh)]
        for n in (1, 3):
            given = n * self.layer.hop
            y, state = self.layer.step(self.x[:, :given], self.fresh)
            expected = given * self.layer.ratio
            if y.shape[:2] != (self.batch, expected):
                raise StreamingError(
                    f"shape: {given} frames in gave {tuple(y.shape[:2])}, "
                    f"expected {(self.batch, int(expected))}"
                )
            if y.dtype != self.dtype:
                raise StreamingError(f"type: {self.dtype} in gave {y.dtype}")
            for name, old, new in zip(
                StateSpec.of(self.fresh).names, before, self._leaves(state), strict=True
            ):
                if old.shape != new.shape or old.dtype != new.dtype:
                    raise StreamingError(
                        f"state: {name} went from {tuple(old.shape)} {old.dtype} "
                        f"to {tuple(new.shape)} {new.dtype}"
                    )
        for old, now in zip(before, self._leaves(self.fresh), strict=True):
            if not torch.equal(old, now):
                raise StreamingError("state: a step changed the state that it was given")

    def splits(self) -> None:
        """However the input is cut, the output is that of one step."""
        for _ in range(3):
            y, _ = self._run(self.x, self.fresh)
            self._compare("splits", y, self.whole)

    def rows(self) -> None:
        """A row does not know the others; it can be reset and paused alone."""
        alone, _ = self._run(self.x[:1], self.layer.initial(1)[0])
        self._compare("rows", alone, self.whole[:1])

        middle = self.x.shape[1] // self.layer.hop // 2 * self.layer.hop
        out = int(middle * self.layer.ratio)
        _, state = self._run(self.x[:, :middle], self.fresh)
        first = torch.arange(self.batch) == 0

        reset = select_rows(first, self.fresh, state)
        y, _ = self._run(self.x[:, middle:], reset)
        self._compare("reset", y[1:], self.whole[1:, out:])
        begun, _ = self._run(self.x[:, middle:], self.layer.initial(self.batch)[0])
        self._compare("reset", y[:1], begun[:1])

        noise = self._noise(2 * self.layer.hop)
        _, disturbed = self._run(noise, state)
        paused = select_rows(first, state, disturbed)
        y, _ = self._run(self.x[:, middle:], paused)
        self._compare("pause", y[:1], self.whole[:1, out:])

    def causality(self) -> None:
        """In stream time, nothing changes before the hop in which the input changes."""
        hop = self.layer.hop
        for _ in range(3):
            at = self._draw(1, self.x.shape[1])
            y, _ = self._run(self._changed_from(at), self.fresh)
            kept = int(self.layer.ratio * hop * (at // hop))
            self._compare("causality", y[:, :kept], self.whole[:, :kept])

    def look_ahead(self) -> None:
        """In public time, a frame depends on no more input than latency + hop - 1 beyond it."""
        y = self.layer(self.x)
        ahead = Fraction(self.report.declared_latency) / self.layer.ratio + self.layer.hop - 1
        for _ in range(3):
            at = self._draw(1, self.x.shape[1])
            kept = max(0, math.ceil((at - ahead) * self.layer.ratio))
            changed = self.layer(self._changed_from(at))
            self._compare("look-ahead", changed[:, :kept], y[:, :kept])

    def before_onset(self, onset: int) -> None:
        """Silence before the onset leaves no trace: zeros come out, then what comes without it."""
        for late in {1, onset, onset * self.layer.hop}:
            state, out = self.layer.initial(self.batch, late)
            filled = torch.cat([self.x.new_zeros(self.batch, late, *self.inputs), self.x], 1)
            filled = self._whole_hops(filled)
            y, _ = self._run(filled, state)
            # Nothing may come out before the onset: any trace is measured against the sound.
            self._compare("before onset", y[:, :out], torch.zeros_like(y[:, :out]), self.whole)
            heard = self.whole[:, self.report.declared_latency :]
            n = min(heard.shape[1], y.shape[1] - out)
            self._compare("onset", y[:, out : out + n], heard[:, :n])

    def against(self, twin: Callable[[Tensor], Tensor]) -> None:
        """Equal to an independent form in public time; the shift that fits is the latency."""
        expected = twin(self.x)
        y = self.layer(self.x)
        n = min(y.shape[1], expected.shape[1])
        self.report.measured_latency = measured = self._shift(expected)
        if measured != self.report.declared_latency:
            raise StreamingError(
                f"latency: {self.report.declared_latency} declared, {measured} measured"
            )
        self._compare("twin", y[:, :n], expected[:, :n])

    def _shift(self, expected: Tensor) -> int:
        """By how many frames the stream is later than `expected`: where the two differ least."""
        best, at = math.inf, 0
        span = min(expected.shape[1], self.whole.shape[1])
        for shift in range(span // 2 + 1):
            n = span - shift
            streamed = self.whole[:, shift : shift + n]
            error = float((streamed - expected[:, :n]).abs().mean())
            if error < best:
                best, at = error, shift
        return at

    def _run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """`x` in steps of random numbers of hops."""
        outputs, hop, start = [], self.layer.hop, 0
        while start < x.shape[1]:
            stop = min(start + hop * self._draw(1, 6), x.shape[1])
            y, state = self.layer.step(x[:, start:stop], state)
            outputs.append(y)
            start = stop
        return torch.cat(outputs, 1), state

    def _changed_from(self, at: int) -> Tensor:
        return torch.cat([self.x[:, :at], self._noise(self.x.shape[1] - at)], 1)

    def _whole_hops(self, x: Tensor) -> Tensor:
        return x[:, : x.shape[1] // self.layer.hop * self.layer.hop]

    def _noise(self, frames: int) -> Tensor:
        shape = (self.batch, frames, *self.inputs)
        return torch.randn(shape, generator=self.random, dtype=self.dtype)

    def _draw(self, low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=self.random))

    def _leaves(self, state: State) -> list[Tensor]:
        return StateSpec.of(state).flatten(state)

    def _compare(
        self, check: str, found: Tensor, expected: Tensor, scale: Tensor | None = None
    ) -> None:
        if found.shape != expected.shape:
            raise StreamingError(f"{check}: {found.shape[1]} frames, {expected.shape[1]} expected")
        if not found.numel():
            return
        largest = float((expected if scale is None else scale).abs().max())
        error = float((found - expected).abs().max()) / max(largest, 1e-30)
        if not error <= self.report.bound:
            where = int((found - expected).abs().flatten(2).amax((0, 2)).argmax())
            raise StreamingError(
                f"{check}: off by {error:.1e} relative at frame {where}, "
                f"{self.report.bound:.0e} allowed"
            )
        self.report.errors[check] = max(error, self.report.errors.get(check, 0.0))
