"""What networks cost, by hand and by torch's own counters."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn
from torch.profiler import profile
from torch.utils.flop_counter import FlopCounterMode

from rtsep import costs, create
from rtsep.cli.models import command
from rtsep.errors import Failure
from rtsep.models import architectures, configurations
from rtsep.streaming import without_countdowns

PRODUCTS = {"aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm"}


def counted(network: nn.Module, run) -> costs.Counter:
    with costs.Counter(network) as counter:
        run()
    return counter


def test_a_conv_tasnet_by_hand() -> None:
    model = create(
        "convtasnet", filters=6, kernel=8, bottleneck=4, hidden=5, skip=3, blocks=2, repeats=1
    )
    bases = 6 * 8 + 2 * 6 * 8
    block = 4 * 5 + 3 * 5 + 5 * 4 + 5 * 3
    masks = 6 * 4 + 2 * block + 3 * 2 * 6 + 2 * 6
    found = costs.measure(model)
    assert found.macs == (bases + masks) * 16000 // 4
    assert found.parameters == sum(p.numel() for p in model.parameters())
    assert found.weight_bytes == 4 * found.parameters
    # Samples that the next window needs, two dilated pasts, and a tail of each stem.
    assert found.state_bytes == 4 * (4 + 5 * 2 + 5 * 4 + 2 * 4)


@pytest.mark.parametrize("arch", architectures())
def test_products_are_those_that_torch_counts(arch: str) -> None:
    try:
        model = create(arch, next(iter(configurations(arch)), None)).double().eval()
    except Failure as missing:
        pytest.skip(str(missing))
    state = without_countdowns(model.initial(1)[0])
    x = torch.zeros(1, model.hop, model.channels, dtype=torch.float64)
    found = costs.measure(model)
    counter = counted(model, lambda: model.step(x, state))
    assert found.macs == round(counter.macs * model.rate / model.hop)
    assert 0 < found.weight_bytes and 0 < found.state_bytes

    with FlopCounterMode(display=False) as judge:
        model.step(x, state)
    products = sum(n for name, n in counter.counts.items() if name.strip("_") != "mul")
    # What starts from zeros within a step (a recurrence in a segment) is spared its first product.
    assert products == pytest.approx(judge.get_total_flops() / 2, rel=0.01)

    with profile(with_flops=True) as judge:
        model.step(x, state)
    flops = sum(event.flops for event in judge.key_averages() if event.key in PRODUCTS)
    matrices = sum(counter.counts.get(name.removeprefix("aten::"), 0) for name in PRODUCTS)
    assert matrices == pytest.approx(flops / 2, rel=0.01)


def test_what_is_not_run_is_not_touched() -> None:
    network = nn.ModuleDict({"heard": nn.Linear(3, 5), "not heard": nn.Linear(3, 7)}).double()
    x = torch.randn(2, 3, dtype=torch.float64)
    counter = counted(network, lambda: network["heard"](x))
    assert counter.counts == {"addmm": 2 * 3 * 5}
    assert counter.touched == {"heard.weight": 15, "heard.bias": 5}


def test_what_is_made_of_weights_alone_is_free() -> None:
    layer = nn.Linear(4, 4, bias=False).double()
    x = torch.randn(1, 4, dtype=torch.float64)

    def run():
        scale = torch.ones(4, dtype=torch.float64) * 2
        scaled = layer.weight.detach() * scale
        buffer = torch.zeros(1, 4, dtype=torch.float64)
        buffer[:] = x  # from here on it holds sound
        return (buffer * scale) @ scaled

    assert counted(layer, run).counts == {"mul": 4, "mm": 16}


def test_other_operators() -> None:
    none = nn.Module()
    x = torch.randn(1, 2, 8, 16, dtype=torch.float64)
    spectrum = torch.fft.rfft(x)
    assert counted(none, lambda: torch.fft.rfft(x)).counts == {"_fft_r2c": 16 * 16 * 4}
    assert counted(none, lambda: torch.fft.irfft(spectrum)).counts == {"_fft_c2r": 16 * 16 * 4}
    assert counted(none, lambda: torch.fft.fft(spectrum[..., :8])).macs == 2 * 16 * 8 * 3
    assert counted(none, lambda: 3.0 * x).macs == 0
    attended = torch.nn.functional.scaled_dot_product_attention
    assert counted(none, lambda: attended(x, x, x)).macs == 2 * 2 * 8 * 8 * 16
    lstm = nn.LSTM(5, 7, batch_first=True).double()
    x, before = (torch.randn(1, n, m, dtype=torch.float64) for n, m in ((3, 5), (1, 7)))
    # Input, recurrence, and three products of gates, in each frame.
    assert counted(lstm, lambda: lstm(x, (before, before))).macs == 3 * (5 * 28 + 7 * 28 + 3 * 7)
    filters = nn.ConvTranspose1d(3, 4, 6, 2, groups=1).double()
    frames = torch.randn(1, 3, 9, dtype=torch.float64)
    assert counted(filters, lambda: filters(frames)).macs == 9 * 3 * 4 * 6


def test_command(monkeypatch, capsys) -> None:
    monkeypatch.setattr(costs, "architectures", lambda: ("convtasnet",))
    command(architectures=True, as_json=True)
    rows = json.loads(capsys.readouterr().out)["architectures"]
    assert [row["configuration"] for row in rows] == list(configurations("convtasnet"))
    first = rows[0]
    assert (first["hop"], first["hop_ms"], first["latency"], first["latency_ms"]) == (64, 4, 64, 4)
    assert first["parameters"] < 2e6 and 1e8 < first["macs"] < 1e9
    command(architectures=True)
    said = capsys.readouterr().out
    assert "published-16k" in said and "GMAC/s" in said


def test_a_configuration_that_needs_more(monkeypatch, capsys) -> None:
    def refuse(arch, config):
        raise Failure("it takes the package: pip install rtsep[more]")

    monkeypatch.setattr(costs, "architectures", lambda: ("convtasnet",))
    monkeypatch.setattr(costs, "create", refuse)
    assert all("pip install" in row["missing"] for row in costs.table())
    command(architectures=True)
    assert "convtasnet paper: it takes the package" in capsys.readouterr().out
