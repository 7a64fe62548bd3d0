"""Training: plain PyTorch, resumable, and the same however often it was interrupted."""

from __future__ import annotations

import contextlib
import csv
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rtsep.errors import Failure
from rtsep.evaluation.metrics import si_sdr_improvement
from rtsep.interruptions import interruptions
from rtsep.training.data import Mixer
from rtsep.training.feed import feed
from rtsep.training.loss import si_sdr_loss
from rtsep.training.precision import multiplies_bfloat16
from rtsep.training.recipe import Recipe
from rtsep.training.schedule import Schedule
from rtsep.training.state import TrainingState

STATE, CONSTANT = "last.ckpt", "constant.ckpt"


@dataclass(frozen=True)
class Options:
    """How a training is run; nothing here changes what is learnt, except when it ends.

    Attributes:
        work: folder of the state and the logs.
        minutes: time after which the training ends, its learning rate at zero; None for the
            recipe's steps.
        decay_now: whether the learning rate falls from the first step of this run on.
        stop_after: steps after which this run stops short of the training's end; None for never.
        slice_minutes: the same, as a time; a training is done in as many slices as it takes.
        score_minutes: how often the average is scored and saved.
        log_steps: how often a line is logged.
        workers: processes that make mixtures; 0 makes them between the steps.
        compiled: whether the step is compiled first.
        device: where it is computed.
    """

    work: Path
    minutes: float | None = None
    decay_now: bool = False
    stop_after: int | None = None
    slice_minutes: float | None = None
    score_minutes: float = 5.0
    log_steps: int = 100
    workers: int = 1
    compiled: bool = True
    device: str = "cpu"


def train(
    recipe: Recipe,
    model: nn.Module,
    mixer: Mixer,
    development: np.ndarray | None,
    options: Options,
    *,
    earlier: dict | None = None,
    resume: bool = False,
    save: Callable[[nn.Module, dict], None] | None = None,
    say: Callable[[str], None] = print,
) -> TrainingState:
    """Trains `model`, which has the stems that `mixer` makes, voice first.

    Args:
        development: (cases, 2, samples) stems, scored now and then; None for no scores.
        earlier: the "steps" and "minutes" that the model was trained for before, and its "history".
        resume: whether to go on from the state in `options.work`.
        save: gets the averaged model and a dict of how far it is, at each score and at the end:
            steps and minutes with those of earlier.

    The state is written at each score, at the end, and when the training is stopped: by the
    options, or by Ctrl-C or SIGTERM, which are `KeyboardInterrupt` here once the step is done.
    """
    settings = recipe.optimiser
    model.to(options.device)
    halved = multiplies_bfloat16(torch.device(options.device))
    state = TrainingState.begin(
        model, settings.rate, settings.weight_decay, torch.bfloat16 if halved else torch.float32
    )
    state.earlier = earlier or {}
    identity = {"arch": recipe.arch, "params": repr(recipe.params), "seed": recipe.seed}
    options.work.mkdir(parents=True, exist_ok=True)
    if resume:
        state.load(options.work / STATE, identity)
        say(f"resumed at step {state.step}, after {state.seconds / 60:.1f} minutes")
    schedule = Schedule(settings, state.step, options.minutes, options.decay_now)
    log = _Log(options.work, resume)
    measure = _step(state, recipe, options, autocast=settings.autocast and halved)
    batches = feed(mixer, settings.batch, state.step, options.workers)
    before, begun, first = state.seconds, time.monotonic(), state.step
    scored, sums, mark = begun, [], (begun, state.step)
    decaying = schedule.decaying(schedule.progress(state.step))

    def stopped() -> bool:
        spent = (time.monotonic() - begun) / 60
        return (options.stop_after is not None and state.step - first >= options.stop_after) or (
            options.slice_minutes is not None and spent >= options.slice_minutes
        )

    def keep() -> None:
        state.seconds = before + time.monotonic() - begun
        state.save(options.work / STATE, identity)

    def score() -> None:
        keep()
        progress: dict = state.earlier | {
            "steps": state.step + state.earlier.get("steps", 0),
            "minutes": round(state.seconds / 60 + state.earlier.get("minutes", 0), 1),
        }
        if development is not None:
            gains = improvements(state.average, development)
            progress["si_sdr_i"] = {
                "mean": round(float(np.mean(gains)), 2),
                "median": round(float(np.median(gains)), 2),
            }
            log.score(state.step, state.seconds / 60, gains)
            say(
                f"step {state.step}, {state.seconds / 60:.1f} min: "
                f"development {np.mean(gains):+.2f} dB (median {np.median(gains):+.2f})"
            )
        if save is not None:
            save(state.average, progress)

    with interruptions() as interrupted:
        while (progress := schedule.progress(state.step)) < 1:
            if stopped():
                keep()
                return state
            if schedule.decaying(progress) and not decaying:
                # From here another training could go on at the full rate.
                decaying = True
                keep()
                state.save(options.work / CONSTANT, identity)
            rate = schedule.rate(state.step, progress)
            sums.append(measure(next(batches), rate))
            state.step += 1
            if state.step % options.log_steps == 0:
                now = time.monotonic()
                speed = (state.step - mark[1]) * settings.batch / (now - mark[0])
                loss = torch.stack(sums).mean().item()
                log.line(state.step, loss, rate, before + now - begun, speed)
                sums, mark = [], (now, state.step)
            if time.monotonic() - scored >= 60 * options.score_minutes:
                score()
                scored = time.monotonic()
            if interrupted():
                keep()
                say(f"interrupted at step {state.step}: --resume goes on")
                raise KeyboardInterrupt
        score()
    return state


@torch.no_grad()
def improvements(model: nn.Module, stems: np.ndarray, batch: int = 8) -> list[float]:
    """The improvement of SI-SDR on the first stem in dB, case by case; `stems` (cases, 2, samples).

    At once, not streamed; `rtsep eval` streams.
    """
    device = next(model.parameters()).device
    gains = []
    for at in range(0, len(stems), batch):
        part = stems[at : at + batch]
        mixtures = part.sum(1)
        estimates = model(torch.from_numpy(mixtures)[..., None].to(device))[:, :, 0, 0]
        for estimate, (voice, _), mixture in zip(
            estimates.cpu().numpy(), part, mixtures, strict=True
        ):
            gains.append(si_sdr_improvement(estimate, voice, mixture))
    return gains


def _step(
    state: TrainingState, recipe: Recipe, options: Options, autocast: bool
) -> Callable[[Tensor, float], Tensor]:
    """One step of the optimiser: stems and a learning rate in, the loss out."""
    settings = recipe.optimiser
    model, device = state.model, torch.device(options.device)
    weights = torch.tensor([1.0, settings.background], device=device)

    def loss_of(stems: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16) if autocast else contextlib.nullcontext():
            estimates = model(stems.sum(2))
        return si_sdr_loss(estimates, stems, weights)

    if options.compiled:
        loss_of = torch.compile(loss_of, dynamic=False)
    parameters = list(model.parameters())

    def measure(stems: Tensor, rate: float) -> Tensor:
        for optimiser in state.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.zero_grad(set_to_none=True)
        loss = loss_of(stems.to(device, non_blocking=True))
        loss.backward()
        norm = nn.utils.clip_grad_norm_(parameters, settings.clip)
        if torch.isfinite(norm):
            for optimiser in state.optimisers:
                optimiser.step()
        state.update_average(settings.average)
        return loss.detach()

    return measure


class _Log:
    """`log.csv`: a line every so many steps; `scores.csv`: a line per score, and its cases."""

    def __init__(self, work: Path, resume: bool) -> None:
        self.lines, self.scores = work / "log.csv", work / "scores.csv"
        if not resume:
            self._write(self.lines, ["step", "minutes", "loss", "rate", "mixtures_per_s"], "w")
            self._write(self.scores, ["step", "minutes", "mean", "median", "cases"], "w")

    def line(self, step: int, loss: float, rate: float, seconds: float, speed: float) -> None:
        row = [step, f"{seconds / 60:.2f}", f"{loss:.3f}", f"{rate:.2e}", f"{speed:.1f}"]
        self._write(self.lines, row)

    def score(self, step: int, minutes: float, gains: list[float]) -> None:
        cases = " ".join(f"{gain:.2f}" for gain in gains)
        mean, median = f"{np.mean(gains):.3f}", f"{np.median(gains):.3f}"
        self._write(self.scores, [step, f"{minutes:.2f}", mean, median, cases])

    def _write(self, file: Path, row: list, mode: str = "a") -> None:
        try:
            with file.open(mode, newline="") as out:
                csv.writer(out, lineterminator="\n").writerow(row)
        except OSError as error:
            raise Failure(f"can't write {file}: {error.strerror}") from None
