"""A training from a recipe and a data folder to a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from rtsep.errors import WrongCall
from rtsep.evaluation import sets
from rtsep.training.corpus import RATE, Corpus, open_corpus
from rtsep.training.data import Mixer
from rtsep.training.loop import Options, train
from rtsep.training.recipe import Recipe
from rtsep.training.split import parts, read_list
from rtsep.training.state import TrainingState

STEMS = ("voice", "background")


def run(
    recipe: Recipe,
    data: Path,
    out: Path,
    options: Options,
    *,
    cache: Path | None = None,
    init: str | None = None,
    resume: bool = False,
    say: Callable[[str], None] = print,
) -> TrainingState:
    """Trains what `recipe` says on `data` and keeps the averaged weights in `out`.

    `init` names a model, of the same architecture and sizes, whose weights are the first; the card
    then counts its steps and minutes too, and keeps what it says of its history.
    """
    from rtsep import checkpoints, models

    torch.manual_seed(recipe.seed)
    model = models.create(recipe.arch, **recipe.params)
    if model.stems != STEMS or model.channels != 1 or model.rate != RATE:
        raise WrongCall(
            f"recipe {recipe.name}: what is trained here separates {' and '.join(STEMS)}, "
            f"mono at {RATE} Hz"
        )
    earlier: dict = {}
    if init is not None:
        first = checkpoints.load(init)
        earlier = first.spec.card.get("trained", {})
        try:
            model.load_state_dict(first.state_dict())
        except RuntimeError:
            raise WrongCall(f"{init} has other layers than recipe {recipe.name}") from None
    corpus = open_corpus(data, cache, _counted(say))
    training, development = list(corpus.recordings), None
    if recipe.development:
        training, _ = parts(corpus.recordings, recipe.development)
        development = development_stems(corpus, recipe.development)
    mixer = Mixer(corpus, training, recipe.mixing, recipe.seed)

    def save(average: nn.Module, progress: dict) -> None:
        card = recipe.card | {"trained": progress}
        checkpoints.save(average, out, name=recipe.name, card=card)

    return train(
        recipe,
        model,
        mixer,
        development,
        options,
        earlier={k: earlier[k] for k in ("steps", "minutes", "history") if k in earlier},
        resume=resume,
        save=save,
        say=say,
    )


def development_stems(corpus: Corpus, name: str) -> np.ndarray:
    """(cases, 2, samples): all mixtures of the committed list `NAME-mixtures`."""
    return np.stack([sets.render(corpus, row) for row in read_list(f"{name}-mixtures")])


def _counted(say: Callable[[str], None]) -> Callable[[int, int], None]:
    def progress(done: int, all_: int) -> None:
        if done % 200 == 0 or done == all_:
            say(f"decoded {done} of {all_} recordings")

    return progress
