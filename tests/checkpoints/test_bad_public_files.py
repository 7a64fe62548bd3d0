"""Public checkpoints of every format, spoilt in every way: one clear error each.

Made of the recorded vectors, so that a new format is held to it as soon as it has one.
"""

from __future__ import annotations

import re

import pytest
import torch
from parity import FORMS
from parity.vectors import FOLDER, FOUND, Vector

from rtsep.checkpoints.importers import FORMATS, convert, detect
from rtsep.errors import Failure

if not FOUND:
    pytest.skip(f"no parity vectors in {FOLDER}: nothing spoilt", allow_module_level=True)

KNOWN = [
    pytest.param(v, id=v.path.stem)
    for v in FOUND
    if v.public_class in FORMS and v.metadata["format"] in FORMATS
]


# What a checkpoint may leave out: it is computed from the settings, not learnt.
COMPUTED = re.compile(r"(.*\.)?(window|sample_rate|num_batches_tracked)$")


def settings(vector: Vector) -> dict:
    return FORMS[vector.public_class].defaults | vector.config


def converted(vector: Vector, tensors: dict, config: dict, format: str | None = None):
    rate = int(vector.metadata["sample_rate"])
    return convert(tensors, format or vector.metadata["format"], config, rate=rate)


def refused(*arguments) -> str:
    with pytest.raises(Failure) as error:
        converted(*arguments)
    said = str(error.value)
    assert said and "\n" not in said
    return said


@pytest.mark.parametrize("vector", KNOWN)
def test_the_format_is_told_by_the_tensors(vector: Vector) -> None:
    format = vector.metadata["format"]
    assert detect(vector.weights) == format
    for other in set(FORMATS) - {format}:
        said = refused(vector, vector.weights, settings(vector), other)
        assert f"those of {format}, not of {other}" in said


@pytest.mark.parametrize("vector", KNOWN)
def test_tensors_that_do_not_fit(vector: Vector) -> None:
    weights, config = vector.weights, settings(vector)
    converted(vector, weights, config)
    keys = [key for key in weights if not COMPUTED.match(key)]
    for key in {keys[0], keys[len(keys) // 2], keys[-1], max(keys), min(keys)}:
        refused(vector, {k: v for k, v in weights.items() if k != key}, config)
        refused(vector, weights | {key: torch.zeros(3, 1, 2, 5, 1)}, config)
        refused(vector, weights | {key: weights[key][..., :0]}, config)
        bad = weights[key].clone()
        bad.view(-1)[-1] = float("nan")
        assert key in refused(vector, weights | {key: bad}, config)
    assert "more" in refused(vector, weights | {"more": torch.zeros(2)}, config)


@pytest.mark.parametrize("vector", KNOWN)
def test_settings_that_make_no_sense(vector: Vector) -> None:
    """Whatever an argument is set to, it is taken, or refused in one line."""
    weights, config = vector.weights, settings(vector)
    values = (0, -1, 7, 0.5, "nonsense", [], {}, [1, 2, 3])
    for turn, name in enumerate(config):
        for value in values[turn % 2 :: 2]:
            try:
                converted(vector, weights, config | {name: value})
            except Failure as failure:
                assert "\n" not in str(failure)
