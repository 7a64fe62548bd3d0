"""Models of any architecture with random weights: to be measured and heard before they are trained.

Each is written once, as a checkpoint in the cache's folder, and then named by its path: what takes
a checkpoint takes it, a worker in another process too. Once it is there, no torch is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rtsep.errors import Failure, WrongCall
from rtsep.models import architectures, configurations, create

SEED = 0
# What the card of such a checkpoint says of its weights.
RANDOM = "random"


def choose(
    model: str | None,
    arch: str | None,
    config: str | None,
    progress: Callable[[str], None] = lambda text: None,
    default: str | None = None,
) -> str:
    """The model that a command's --model, --arch and --config name together.

    Raises `WrongCall` where they contradict each other, or name nothing and there is no `default`.
    """
    if arch is None:
        if config is not None:
            raise WrongCall(f"--config {config}: it goes with --arch, a model has its own")
        if model is None and default is None:
            raise WrongCall("no model named: name one, or an architecture with --arch")
        return default if model is None else model
    if model is not None:
        raise WrongCall(f"{model} and --arch {arch}: either a model or an architecture")
    return str(checkpoint(arch, config, progress))


def checkpoint(
    arch: str, config: str | None = None, progress: Callable[[str], None] = lambda text: None
) -> Path:
    """The checkpoint of an architecture with random weights, the same whenever it is made.

    `config` is one of `rtsep.models.configurations(arch)`; None is the first of them. Raises
    `WrongCall` for unknown names, `Failure` where it can't be written.
    """
    from rtsep.engines import cache

    if arch not in architectures():
        raise WrongCall(f"no architecture {arch!r}; there is {', '.join(architectures())}")
    named = "default" if config is None else config
    key = cache.key("untrained", ("torch",), arch=arch, config=named, seed=SEED)
    home = cache.folder() / "untrained"
    path = home / f"{arch}.{named}.{key[:16]}.safetensors"
    if path.is_file():
        return path
    import torch

    from rtsep.checkpoints import save

    known = configurations(arch)
    if config is not None and config not in known:
        raise WrongCall(f"{arch} has no configuration {config!r}; there is {', '.join(known)}")
    config = next(iter(known), None) if config is None else config
    progress(f"drawing random weights for {arch}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = create(arch, config)
    name = " ".join(filter(None, (arch, config, "(random weights)")))
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"can't make the folder {home}: {error.strerror or error}") from None
    for outdated in home.glob(f"{arch}.{named}.*.safetensors"):
        outdated.unlink(missing_ok=True)
    save(model, path, name=name, card={"weights": RANDOM, "seed": SEED})
    return path
