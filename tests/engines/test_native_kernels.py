"""Kernels of the native engine against numpy, for every level that this processor has."""

from __future__ import annotations

import ctypes
import math

import numpy as np
import pytest

from rtsep.engines.native import processor as processors
from rtsep.engines.native import views
from rtsep.engines.native.memory import arrange
from rtsep.engines.native.packing import column_scales
from rtsep.engines.native.plan import (
    Apply,
    Buffer,
    Gather,
    Load,
    Map,
    Narrow,
    Norm,
    Plan,
    Product,
    Quantise,
    Reduce,
    Result,
    Scalar,
    Scan,
    View,
    contiguous,
)
from rtsep.engines.native.program import program
from rtsep.errors import WrongCall

LENGTHS = (1, 2, 7, 16, 31, 100)


@pytest.fixture(params=["baseline", "avx2", "avx512", "neon"])
def processor(request, monkeypatch):
    monkeypatch.setenv("RTSEP_CPU", request.param)
    processors.here.cache_clear()
    try:
        yield processors.here()
    except WrongCall as missing:
        pytest.skip(str(missing))
    finally:
        processors.here.cache_clear()


def view(content: np.ndarray, kind: str = "constant", dtype: str = "f32") -> View:
    buffer = Buffer("b", kind, dtype, content.size, content)
    return View(buffer, 0, content.shape, contiguous(content.shape))


def output(*shape: int, dtype: str = "f32") -> View:
    return view(np.empty(shape), "stems", dtype)


def run(operation, processor, before=(), scratch=()) -> np.ndarray:
    """What an operation, after those before, leaves in all of its output's buffer, once zeros."""
    out = operation.out
    plan = Plan([*before, operation], [out.buffer, *scratch])
    memory = arrange(plan, processor)
    loaded = processors.Loaded(processors.compiled(program(plan, memory, processor), processor))
    arena, block = (np.zeros(size + 64, np.uint8) for size in (memory.size, len(memory.block)))
    block[: len(memory.block)] = np.frombuffer(memory.block, np.uint8)
    step = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(loaded.address("step"))
    step(arena.ctypes.data, block.ctypes.data)
    kind = {"f32": np.float32, "i64": np.int64, "i1": np.bool_}[out.dtype]
    start = memory.offsets[out.buffer]
    return arena[start : start + out.buffer.bytes].view(kind).reshape(out.buffer.content.shape)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


WIDE = np.concatenate([np.linspace(-100, 100, 4001), [0.0, -0.0, 1e-30, -1e-30, 1e30, -1e30]])
NARROW = np.concatenate([np.linspace(-12, 12, 4001), [1e-4, -1e-4, 1e-20]])
POSITIVE = np.concatenate([np.geomspace(1e-37, 1e37, 4001), np.linspace(0.5, 2, 1001)])


@pytest.mark.parametrize(
    ("name", "at", "expected", "absolute", "relative"),
    [
        ("exp", np.linspace(-87, 88, 4001), np.exp, 0, 3e-7),
        ("log", POSITIVE, np.log, 2e-7, 2e-7),
        ("tanh", NARROW, np.tanh, 0, 4e-7),
        ("sigmoid", np.linspace(-80, 80, 4001), lambda x: 1 / (1 + np.exp(-x)), 0, 5e-7),
        ("erf", NARROW, np.vectorize(math.erf), 4e-7, 0),
        ("sin", NARROW * 20, np.sin, 2e-6, 0),
        ("cos", NARROW * 20, np.cos, 2e-6, 0),
        ("sqrt", POSITIVE, np.sqrt, 0, 2e-7),
        ("abs", WIDE, np.abs, 0, 0),
        ("neg", WIDE, np.negative, 0, 0),
        ("floor", NARROW, np.floor, 0, 0),
    ],
)
def test_functions(processor, name, at, expected, absolute, relative):
    at = at.astype(np.float32)
    found = run(Map(output(at.size), Apply(name, (Load(view(at)),), "f32")), processor)
    exact = expected(at.astype(np.float64))
    assert np.all(np.abs(found - exact) <= absolute + relative * np.abs(exact))


def test_functions_at_their_ends(processor):
    at = np.array([0, -1, np.inf, -np.inf, np.nan, 200, -200], np.float32)

    def of(name):
        return run(Map(output(at.size), Apply(name, (Load(view(at)),), "f32")), processor)

    assert of("exp")[[3, 6]].max() < 1e-37 and of("exp")[5] > 3e38
    assert of("log")[0] == -np.inf
    assert np.array_equal(of("tanh")[[2, 3, 5, 6]], [1, -1, 1, -1])
    assert np.allclose(of("sigmoid")[[2, 3, 5, 6]], [1, 0, 1, 0], atol=1e-30)
    # A number that is none stays none: whoever runs the engine resets it then.
    assert all(np.isnan(of(name)[4]) for name in ("exp", "log", "tanh", "sigmoid"))


@pytest.mark.parametrize("length", LENGTHS)
def test_powers_of_what_is_not_negative(processor, length):
    at = np.abs(noise(length))
    at[0] = 0
    expression = Apply("power", (Load(view(at)), Scalar(0.3, "f32")), "f32")
    found = run(Map(output(length), expression), processor)
    assert np.allclose(found, at.astype(np.float64) ** 0.3, rtol=1e-6, atol=0)


@pytest.mark.parametrize("length", LENGTHS)
def test_maps_of_any_strides(processor, length):
    x = noise(3, length, 2)
    turned = views.permute(view(x), (2, 0, 1))
    row = views.expand(view(noise(length, seed=1)), (2, 3, length))
    expression = Apply("add", (Load(turned), Load(row)), "f32")
    expected = x.transpose(2, 0, 1) + noise(length, seed=1)
    assert np.allclose(run(Map(output(2, 3, length), expression), processor), expected)
    back = views.permute(output(3, length, 2), (2, 0, 1))
    assert np.allclose(run(Map(back, expression), processor).transpose(2, 0, 1), expected)


def test_whole_numbers_and_truths(processor):
    numbers = np.array([-3, 0, 2, 70, 5], np.int64)
    load, two = Load(view(numbers, dtype="i64")), Scalar(2, "i64")
    less = Apply("max", (Apply("sub", (load, two), "i64"), Scalar(0, "i64")), "i64")
    assert run(Map(output(5, dtype="i64"), less), processor).tolist() == [0, 0, 0, 68, 3]
    truth = Apply("ge", (load, two), "i1")
    assert run(Map(output(5, dtype="i1"), truth), processor).tolist() == [0, 0, 1, 1, 1]
    mask = Apply("cast", (truth,), "f32")
    assert run(Map(output(5), mask), processor).tolist() == [0, 0, 1, 1, 1]


@pytest.mark.parametrize("kind", ["f32", "bf16"])
@pytest.mark.parametrize(
    ("m", "k", "n"),
    [(1, 2, 1), (1, 64, 257), (2, 30, 16), (3, 8, 33), (8, 128, 96), (9, 10, 130), (17, 6, 5)],
)
def test_products(processor, kind, m, k, n):
    """Rows that lie apart, an output that is part of another, and what is fused."""
    rows, weight, bias = noise(m, k + 3), noise(k, n, seed=1), noise(n, seed=2)
    if kind == "bf16":
        weight = (weight.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    whole = output(m, n + 5)
    out = views.cut(whole, 1, 2, n)
    packed = Buffer("w", "weight", kind, k * n, weight)
    stretched = Load(views.expand(view(bias), (m, n)))
    expression = Apply("max", (Apply("add", (Result(), stretched), "f32"), Scalar(0, "f32")), "f32")
    chosen = views.cut(view(rows), 1, 3, k)
    found = run(Product(out, chosen, packed, expression), processor)
    expected = np.maximum(rows[:, 3:] @ weight + bias, 0)
    assert np.allclose(found[:, 2 : 2 + n], expected, rtol=1e-4, atol=1e-4)
    assert not found[:, :2].any() and not found[:, 2 + n :].any()


@pytest.mark.parametrize(("m", "k", "n"), [(1, 2, 1), (4, 30, 33), (8, 128, 96), (17, 6, 5)])
def test_products_of_pairs(processor, m, k, n):
    if not processor.pairs:
        pytest.skip("this processor multiplies no bfloat16")
    rows, weight = noise(m, k + 3), noise(k, n, seed=1)
    halves = view(np.empty((m, k)), "scratch", "bf16")
    packed = Buffer("w", "weight", "bf16", k * n, weight)
    operation = Product(output(m, n), halves, packed, Result())
    narrow = Narrow(halves, views.cut(view(rows), 1, 3, k))
    found = run(operation, processor, [narrow], [halves.buffer])
    expected = rows[:, 3:].astype(np.float64) @ weight
    assert np.abs(found - expected).max() <= 1e-2 * np.abs(expected).max() + 1e-2
    assert m == 1 or np.abs(found - expected).max() > 1e-5


@pytest.mark.parametrize(
    ("m", "k", "n"), [(1, 2, 1), (1, 64, 257), (3, 31, 33), (8, 128, 96), (9, 10, 130), (17, 6, 5)]
)
def test_products_of_whole_numbers(processor, m, k, n):
    """Rows and columns in steps of their own; the sums are exact, whatever the instructions."""
    rows, weight = noise(m, k + 3), noise(k, n, seed=1) * np.arange(1, n + 1, dtype=np.float32)
    rows[0, 3] = 50
    rows[1:][-1:] = 0
    chosen, wide = views.cut(view(rows), 1, 3, k), -(-k // 4) * 4
    eights, scales = view(np.empty((m, wide)), "scratch", "i8"), view(np.empty(m), "scratch")
    quantise = Quantise(views.cut(eights, 1, 0, k), scales, chosen)
    packed = Buffer("w", "weight", "i8", k * n, weight)
    scaled = Apply("mul", (Result(), Load(views.View(scales.buffer, 0, (m, n), (1, 0)))), "f32")
    operation = Product(output(m, n), eights, packed, scaled)
    found = run(operation, processor, [quantise], [eights.buffer, scales.buffer])
    steps = np.abs(rows[:, 3:]).max(1, keepdims=True) / np.float32(127)
    whole = np.rint(rows[:, 3:] / np.where(steps > 0, steps, 1)).astype(np.int64)
    expected = whole @ np.rint(weight / column_scales(weight)).astype(np.int64) * steps
    # A value in the middle between two steps may have gone either way.
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max() + 127 * steps.max()
    assert np.mean(np.abs(found - expected) <= 1e-5 * np.abs(expected).max()) > 0.9
    assert not found[1:][-1:].any()


def test_what_is_no_number_stays_none_in_whole_numbers(processor):
    rows = noise(2, 8)
    rows[1, 5] = np.nan
    eights, scales = view(np.empty((2, 8)), "scratch", "i8"), view(np.empty(2), "scratch")
    packed = Buffer("w", "weight", "i8", 8 * 4, noise(8, 4))
    scaled = Apply("mul", (Result(), Load(views.View(scales.buffer, 0, (2, 4), (1, 0)))), "f32")
    found = run(
        Product(output(2, 4), eights, packed, scaled),
        processor,
        [Quantise(eights, scales, view(rows))],
        [eights.buffer, scales.buffer],
    )
    assert np.isfinite(found[0]).all() and np.isnan(found[1]).all()


@pytest.mark.parametrize("length", LENGTHS)
def test_norms(processor, length):
    x, gain = noise(5, length) * 3 + 100, noise(length, seed=1)
    source = Apply("mul", (Load(view(x)), Scalar(0.5, "f32")), "f32")
    follow = Apply("mul", (Result(), Load(views.expand(view(gain), (5, length)))), "f32")
    found = run(Norm(output(5, length), source, 1e-3, follow), processor)
    half = x.astype(np.float64) / 2
    centred = half - half.mean(-1, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-3) * gain
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("kind", ["sum", "max", "min"])
def test_reductions(processor, kind, length):
    x = noise(3, 4, length)
    reduce = {"sum": np.sum, "max": np.max, "min": np.min}[kind]
    last = Reduce(output(3, 4), kind, Load(view(x)), (length,))
    assert np.allclose(run(last, processor), reduce(x, -1), rtol=1e-5, atol=1e-5)
    middle = Load(views.permute(view(x), (0, 2, 1)))
    found = run(Reduce(output(3, length), kind, middle, (4,)), processor)
    assert np.allclose(found, reduce(x, 1), rtol=1e-5, atol=1e-5)
    both = Load(views.permute(view(x), (1, 0, 2)))
    found = run(Reduce(output(4), kind, both, (3, length)), processor)
    assert np.allclose(found, reduce(x, (0, 2)), rtol=1e-5, atol=1e-5)


def test_cumulative_sums(processor):
    x = noise(3, 7)
    assert np.allclose(run(Scan(output(3, 7), view(x)), processor), x.cumsum(1), atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gather(processor, axis):
    """Also of a view that is turned, with indices that are stretched."""
    rng = np.random.default_rng(axis)
    x = noise(5, 6, 7).transpose(2, 0, 1)
    shape = tuple(3 if i == axis else size for i, size in enumerate(x.shape))
    at = rng.integers(-x.shape[axis], x.shape[axis], shape)
    source = views.permute(view(x.transpose(1, 2, 0).copy()), (2, 0, 1))
    found = run(Gather(output(*shape), source, view(at, dtype="i64"), axis), processor)
    assert np.array_equal(found, np.take_along_axis(x, at, axis))
    one = at[:1, :1, :1]
    stretched = views.expand(view(one, dtype="i64"), shape)
    found = run(Gather(output(*shape), source, stretched, axis), processor)
    assert np.array_equal(found, np.take_along_axis(x, np.broadcast_to(one, shape), axis))


def test_views_reshape_as_numpy_does():
    rng = np.random.default_rng(0)
    x = np.arange(2 * 3 * 4 * 6)
    base = View(Buffer("x", "scratch", "f32", x.size), 0, (2, 3, 4, 6), contiguous((2, 3, 4, 6)))
    shapes = [(6, 24), (24, 6), (2, 12, 6), (144,), (1, 2, 3, 24), (3, 2, 4, 6), (2, 3, 2, 2, 6)]
    possible = 0
    for _ in range(300):
        order = tuple(rng.permutation(4)) if rng.random() < 0.7 else (0, 1, 2, 3)
        axis = int(rng.integers(4))
        seen = views.permute(base, order)
        expected = x.reshape(base.shape).transpose(order)
        if rng.random() < 0.5:
            seen = views.cut(seen, axis, 1, seen.shape[axis] - 1)
            expected = np.take(expected, range(1, expected.shape[axis]), axis)
        shape = shapes[rng.integers(len(shapes))]
        if math.prod(shape) != expected.size:
            continue
        found = views.reshape(seen, shape)
        if found is None:
            continue
        possible += 1
        strides = [8 * step for step in found.strides]
        got = np.lib.stride_tricks.as_strided(x[found.offset :], found.shape, strides)
        assert np.array_equal(got, expected.reshape(shape))
    assert possible > 20


def test_levels_that_are_not_there(monkeypatch):
    monkeypatch.setenv("RTSEP_CPU", "mmx")
    processors.here.cache_clear()
    with pytest.raises(WrongCall, match="RTSEP_CPU=mmx: this processor has baseline"):
        processors.here()
    processors.here.cache_clear()
