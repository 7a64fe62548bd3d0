"""Recipes: the one that ships, what is refused, and when the learning rate is what."""

from __future__ import annotations

import pytest

import rtsep
from rtsep.errors import WrongCall
from rtsep.training import recipe as recipes
from rtsep.training.recipe import Optimiser
from rtsep.training.schedule import Schedule


def test_the_recipe_that_ships_keeps_the_limits():
    plan = recipes.read("convtasnet")
    model = rtsep.create(plan.arch, **plan.params)
    assert (model.stems, model.rate) == (("voice", "background"), 16000)
    assert sum(p.numel() for p in model.parameters()) <= 2_000_000
    # A window of 8 ms: that is how late a sample is heard at worst, however far back is seen.
    assert plan.params["synthesis"] <= 128 and model.hop + model.latency <= 128
    assert plan.development == "dev"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model", "is no recipe"),
        ("name = 'x'", "names no arch"),
        ("[model]\narch = 'convtasnet'\n[mixing]\nloudness = 3", "what is 'loudness'"),
        ("[model]\narch = 'convtasnet'\n[mixing]\nsnr = [5, 1]", "snr is a range"),
        ("[model]\narch = 'convtasnet'\n[optimiser]\nsteps = 'many'", "is no int"),
        ("[model]\narch = 'convtasnet'\n[mixing.kinds]\ntraffic = 1", "kinds is a table of"),
        ("stages = 2\n[model]\narch = 'convtasnet'", "what is 'stages'"),
        ("seed = 'x'\n[model]\narch = 'convtasnet'", "is no int"),
        ("model = 'convtasnet'", "is no table"),
    ],
)
def test_what_is_no_recipe_is_said(tmp_path, text, message):
    file = tmp_path / "r.toml"
    file.write_text(text)
    with pytest.raises(WrongCall, match=message):
        recipes.read(file)


def test_unknown_recipes_are_named():
    with pytest.raises(WrongCall, match=r"no recipe 'nothing': .*convtasnet"):
        recipes.read("nothing")


def test_the_rate_warms_up_stays_and_falls_to_zero():
    schedule = Schedule(Optimiser(steps=100, rate=1.0, warmup=10, decay=0.4))
    rates = [schedule.rate(step, schedule.progress(step)) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and rates[9:61] == [1.0] * 52
    assert rates[80] == pytest.approx(0.5) and rates[100] == 0
    assert not schedule.decaying(0.59) and schedule.decaying(0.61)


def test_decay_now_falls_from_where_it_starts():
    schedule = Schedule(Optimiser(steps=100, rate=1.0, warmup=1), first=50, decay_now=True)
    assert schedule.decaying(0.0)
    assert [schedule.rate(s, schedule.progress(s)) for s in (50, 75, 100)] == [1, 0.5, 0]


def test_a_time_is_an_end_as_well():
    schedule = Schedule(Optimiser(rate=1.0, warmup=1, decay=0.5), minutes=10)
    schedule.started -= 7.5 * 60
    progress = schedule.progress(3)
    assert progress == pytest.approx(0.75, abs=0.01)
    assert schedule.rate(3, progress) == pytest.approx(0.5, abs=0.02)
