"""`rtsep train`: a recipe and a data folder become a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    recipe: Annotated[str, typer.Argument(help="A recipe: one that ships, or a TOML file.")],
    data: Annotated[Path, typer.Option(help="The data folder, with index.csv.")],
    out: Annotated[
        Path | None, typer.Option(help="The checkpoint to write. Default: WORK/NAME.safetensors.")
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(help="Folder of state and logs. Default: in the user's cache folder."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the state in WORK.")] = False,
    init: Annotated[
        str | None, typer.Option(help="A model of the same sizes to start from.")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help="End after so long, instead of after the recipe's steps."),
    ] = None,
    decay_now: Annotated[
        bool, typer.Option("--decay-now", help="Let the learning rate fall from the start.")
    ] = False,
    score_minutes: Annotated[
        float, typer.Option(help="Score and save the average this often.")
    ] = 5.0,
    workers: Annotated[int, typer.Option(help="Processes that make mixtures.", min=0)] = 1,
    threads: Annotated[int | None, typer.Option(help="Threads of the network.", min=1)] = None,
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Compile the step first.")
    ] = True,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder of the decoded recordings. Default: the user's cache folder."),
    ] = None,
) -> None:
    """Train a model. Mixtures are made on the fly; Ctrl-C saves, --resume goes on."""
    from rtsep.errors import WrongCall
    from rtsep.training import recipe as recipes

    plan = recipes.read(recipe)
    if resume and init is not None:
        raise WrongCall("--resume goes on from its own weights: leave --init out")
    if minutes is not None and minutes <= 0:
        raise WrongCall(f"--minutes {minutes:g}: more than 0")
    if work is None:
        from platformdirs import user_cache_dir

        work = Path(user_cache_dir("rtsep")) / "training" / plan.name

    from rtsep.training.memory import be_frugal

    be_frugal()
    import torch

    from rtsep.training.loop import Options
    from rtsep.training.run import run

    if device == "cuda" and not torch.cuda.is_available():
        raise WrongCall("--device cuda: PyTorch sees no CUDA device")
    if threads is not None:
        torch.set_num_threads(threads)
    out = work / f"{plan.name}.safetensors" if out is None else out
    options = Options(
        work,
        minutes=minutes,
        decay_now=decay_now,
        score_minutes=score_minutes,
        workers=workers,
        compiled=compiled,
        device=device,
    )
    state = run(
        plan,
        data,
        out,
        options,
        cache=cache,
        init=init,
        resume=resume,
        say=lambda line: print(line, flush=True),
    )
    print(f"{out}: {state.step} steps, {state.seconds / 60:.1f} minutes")
