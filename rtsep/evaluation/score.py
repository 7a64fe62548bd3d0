"""Scoring a model on a set: streamed through an engine, as it is heard live."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from rtsep.errors import Failure
from rtsep.evaluation import sets
from rtsep.evaluation.metrics import si_sdr


class Scorer:
    """One engine and one pipeline for all cases of one rate and channel count.

    `model`, `engine`, `chunk` and `precision` are those of `rtsep.engines.build`; `ran` says what
    was built, once there was a case.
    """

    def __init__(
        self, model, engine: str = "auto", chunk: int | None = None, precision: str | None = None
    ) -> None:
        self.model, self.engine, self.chunk, self.precision = model, engine, chunk, precision
        self.ran: dict[str, str] = {}
        self._pipelines: dict = {}

    def case(self, case: sets.Case, gain: float = 0.0) -> dict[str, dict[str, float]]:
        """`si_sdr` and `si_sdr_i` in dB of each stem that the case has and the model gives.

        `gain`, in dB, is put on the mixture first: neither score depends on it by itself.
        """
        pipeline = self._pipeline(case)
        pipeline.reset()
        mixture = np.float32(10 ** (gain / 20)) * case.mixture
        parts = [pipeline.process(mixture).copy(), pipeline.flush(mixture.shape[1])]
        estimates = dict(zip(pipeline.stems, np.concatenate(parts, -1), strict=True))
        if not estimates.keys() & case.stems.keys():
            raise Failure(
                f"case {case.name} has {', '.join(case.stems)}, "
                f"the model gives {', '.join(pipeline.stems)}: nothing to compare"
            )
        scores = {}
        for name in (name for name in pipeline.stems if name in case.stems):
            reached = si_sdr(estimates[name], case.stems[name])
            before = si_sdr(case.mixture, case.stems[name])
            scores[name] = {"si_sdr": reached, "si_sdr_i": reached - before}
        return scores

    def close(self) -> None:
        for pipeline in self._pipelines.values():
            pipeline.close()
        self._pipelines.clear()

    def _pipeline(self, case: sets.Case):
        from rtsep.pipeline import build

        form = (case.rate, case.mixture.shape[0])
        if form not in self._pipelines:
            made = build(
                self.model,
                *form,
                engine=self.engine,
                chunk=self.chunk,
                precision=self.precision,
            )
            self._pipelines[form], spec = made, made.engine.spec
            self.ran = {
                "engine": spec.engine,
                "precision": spec.precision,
                "engine_reason": spec.reason,
            }
        return self._pipelines[form]


def score(
    model,
    folder: str | Path,
    *,
    engine: str = "auto",
    chunk: int | None = None,
    precision: str | None = None,
    gains: tuple[float, ...] = (),
    progress: Callable[[int, int], None] | None = None,
) -> dict:
    """Scores a model on all cases of a folder; see `rtsep.evaluation.sets`.

    Returns `ran` (engine, precision, and why), `stems` (per stem, `si_sdr` and `si_sdr_i`, each
    with mean and median over the cases), `cases` (each with its `name` and `stems`), and `levels`:
    for each of `gains`, dB on the mixture, the same `stems` again. `progress` hears of the cases
    done and of their number.
    """
    folder = Path(folder)
    count = len(sets.names(folder))
    cases: dict[float, list[dict]] = {gain: [] for gain in (0.0, *gains)}
    scorer = Scorer(model, engine, chunk, precision)
    try:
        for done, case in enumerate(sets.read(folder), 1):
            for gain, rows in cases.items():
                rows.append({"name": case.name, "stems": scorer.case(case, gain)})
            if progress is not None:
                progress(done, count)
    finally:
        scorer.close()
    levels = [{"gain_db": gain, "stems": summary(cases[gain])} for gain in gains]
    return {
        "ran": scorer.ran,
        "stems": summary(cases[0.0]),
        "cases": cases[0.0],
        "levels": levels,
    }


def summary(cases: list[dict]) -> dict[str, dict[str, dict[str, float]]]:
    """Mean and median per stem and score; cases in which a stem is silent have no say in it."""
    values: dict[str, dict[str, list[float]]] = {}
    for case in cases:
        for stem, scores in case["stems"].items():
            for name, value in scores.items():
                kept = values.setdefault(stem, {}).setdefault(name, [])
                if not np.isnan(value):
                    kept.append(value)
    return {
        stem: {
            name: {"mean": float(np.mean(kept)), "median": float(np.median(kept))}
            if kept
            else {"mean": float("nan"), "median": float("nan")}
            for name, kept in scores.items()
        }
        for stem, scores in values.items()
    }
