"""Every engine against the reference, and every engine's rows against themselves."""

from __future__ import annotations

from functools import cache, partial

import numpy as np
import pytest
import torch
from engine_models import (
    ARCHITECTURES,
    BOUNDS,
    check_rows_stay_alone,
    make,
    ratio,
    run,
    sound,
    tiny,
)

from rtsep import engines
from rtsep.errors import Failure

SECONDS = 10
# test_inductor.py has a share of this for the slow one.
ENGINES = [
    pytest.param(name, marks=pytest.mark.long if name in engines.SLOW else ())
    for name in engines.available()
    if name != "eager"
]
THERE = {name for name, reason in engines.available().items() if reason is None}
QUICK = THERE - {*engines.SLOW}
CASES = [
    ("plain", 64, 1),
    ("plain", 1024, 1),
    ("masked", 64, 1),
    ("masked", 192, 1),
    ("stereo", 128, 2),
    ("fourier", 64, 1),
]


@pytest.fixture(params=ENGINES)
def engine(request):
    if reason := engines.available()[request.param]:
        pytest.skip(reason)
    return request.param


@cache
def reference(name, chunk, batch):
    """A sound, and what the network makes of all of it at once in float64, as late as a stream.

    Not what `eager` makes of it, which may be most of the bound away by itself: where a bin of a
    spectrum is all but empty by chance, its loudness is a matter of rounding.
    """
    model = make(name)
    mixture = sound((batch, model.channels, SECONDS * model.rate))
    with torch.no_grad():
        whole = model.double().separate(torch.from_numpy(mixture).double()).numpy()
    heard = mixture.shape[-1] // chunk * chunk
    return mixture, np.pad(whole, [(0, 0)] * 3 + [(model.latency, 0)])[..., :heard]


@pytest.mark.parametrize("engine", ["eager", *ENGINES], indirect=True)
@pytest.mark.parametrize(("name", "chunk", "batch"), CASES)
def test_equals_the_whole_signal_at_once(engine, name, chunk, batch):
    mixture, expected = reference(name, chunk, batch)
    built = engines.build(make(name), engine, chunk=chunk, batch=batch)
    stems = run(built, mixture)
    assert np.isfinite(expected).all()
    assert expected.shape == stems.shape
    assert np.abs(stems - expected).max() <= 1e-5 * np.abs(expected).max()
    assert not stems[..., : make(name).latency].any()
    # And again after a reset, to the bit: nothing of the first run is left.
    built.reset()
    half = mixture[..., : mixture.shape[-1] // 4]
    again = run(built, half)
    assert np.array_equal(again, stems[..., : again.shape[-1]])


REDUCED = ("convtasnet", "hstasnet", "demucs")


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_architecture(arch):
    """Every engine, at the bound of each precision; some in two rows; one export for all."""
    more = arch in REDUCED
    others = QUICK - {"eager", "native"}  # test_native.py has these
    check_architecture(tiny(arch), others, 300, reduced=more, batches=(1, 2) if more else (1,))


@pytest.mark.long
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_architecture_as_published(arch):
    """Its low-latency form, in every precision."""
    import rtsep

    model = rtsep.create(arch).eval()
    steps = SECONDS * model.rate // model.hop
    check_architecture(model, THERE - {"eager"}, steps, reduced=True, batches=(1,))


def check_architecture(model, names, steps, reduced, batches):
    random, chunk = np.random.default_rng(1), model.hop
    for batch in batches:
        mixture = sound((batch, model.channels, steps * chunk), seed=3)
        mixture += random.standard_normal(mixture.shape, np.float32) * np.float32(0.01)
        expected = run(engines.build(model, "eager", chunk=chunk, batch=batch), mixture)
        assert expected.any()
        for engine in names:
            wanted = engines.precisions(engine)
            for precision in wanted if reduced and batch == 1 else ["float32"]:
                made = dict(chunk=chunk, batch=batch, precision=precision)
                try:
                    built = engines.build(model, engine, **made)
                except Failure as failure:
                    assert "this processor does not multiply" in str(failure)
                    continue
                found = run(built, mixture)
                assert ratio(expected, found) >= BOUNDS[precision], (engine, batch, precision)


@pytest.mark.parametrize("engine", ["eager", *ENGINES], indirect=True)
def test_rows_reset_and_pause_alone(engine):
    check_rows_stay_alone(partial(engines.build, engine=engine))


@pytest.mark.parametrize("engine", ["eager", *ENGINES], indirect=True)
def test_all_rows_paused_is_silence_and_no_time(engine):
    built = engines.build(make(), engine, chunk=64)
    mixture = sound((1, 1, 64 * 80))
    expected = run(built, mixture)
    built.reset()
    first = run(built, mixture[..., : 64 * 50])
    assert not run(built, mixture[..., : 64 * 7], active=lambda index: [False]).any()
    rest = run(built, mixture[..., 64 * 50 :])
    assert np.array_equal(np.concatenate([first, rest], -1), expected)


@pytest.mark.parametrize("engine", ["eager", *ENGINES], indirect=True)
def test_two_engines_share_nothing(engine):
    model = make()
    one, other = (engines.build(model, engine, chunk=64) for _ in range(2))
    mixture = sound((1, 1, 64 * 60), seed=1)
    expected = run(one, mixture)
    one.reset()
    outputs = []
    for index in range(60):
        outputs.append(run(one, mixture[..., index * 64 : (index + 1) * 64]))
        run(other, sound((1, 1, 64), seed=index + 100))
        if index % 9 == 0:
            other.reset()
    other.close()
    assert np.array_equal(np.concatenate(outputs, -1), expected)
    # Nor with the model they were made of.
    model.network.layers[0].weight.data.zero_()
    one.reset()
    assert np.array_equal(run(one, mixture), expected)


@pytest.mark.parametrize(
    ("engine", "chunk"),
    [
        ("onnxruntime", 64),
        ("onnxruntime", 128),
        ("openvino", 64),
        ("onnxruntime-openvino", 64),
    ],
    indirect=["engine"],
)
def test_rings_are_right_at_every_phase(engine, chunk):
    """A pause or a reset at any turn of the rings, which the longest dilation makes eight of."""
    model = make("masked")
    built = engines.build(model, engine, chunk=chunk)
    turns = built._turns
    assert built._rings and turns in (8, 16)
    mixture = sound((1, 1, chunk * 40), seed=2)[..., chunk * 4 :] + np.float32(0.01)
    expected = run(built, mixture)
    for turn in range(turns + 1):
        built.reset()
        first = run(built, mixture[..., : turn * chunk]) if turn else expected[..., :0]
        run(built, mixture[..., :chunk], active=lambda index: [False])
        built.reset([])
        rest = run(built, mixture[..., turn * chunk :])
        assert np.array_equal(np.concatenate([first, rest], -1), expected), turn
        run(built, mixture[..., : turn * chunk + chunk])
        built.reset([0])
        assert np.array_equal(run(built, mixture), expected), turn
