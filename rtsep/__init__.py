"""rtsep separates sound live: a mixture goes in, stems come out a few milliseconds later.

    rtsep.load(name_or_path)        a model from a checkpoint
    rtsep.create(arch, **params)    a model with random weights
    rtsep.separate(mixture, rate)   a whole signal at once
    rtsep.Stream(model, rate)       blocks of any size, as they come
    rtsep.Live(model)               from microphone to loudspeaker, while the program goes on

Names are looked up when first used: `import rtsep` loads neither torch nor an engine.
"""

from __future__ import annotations

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "create": "rtsep.models",
    "load": "rtsep.checkpoints",
    "separate": "rtsep.offline",
    "Stream": "rtsep.stream",
    "Live": "rtsep.live.live",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'rtsep' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
