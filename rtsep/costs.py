"""What a step of a network costs, found by running one: products, weights and state.

A multiply-accumulate is one product of two numbers of the signal's path, added or not. Counted are

- matrix products, convolutions and the products inside recurrent layers, as many as the dense
  operation has (windows' Fourier transforms are matrix products here, and count as such),
- multiplications element by element: depthwise taps, gates, masks, the gains of norms,
- attention: scores and weighted sums,
- a fast Fourier transform of n points, where a network has one, as 2 n log2 n, or half of that for
  real sound (radix 2).

Not counted: additions alone, divisions, roots, exponentials and comparisons; and what is made of
weights alone, which an export computes once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from rtsep.errors import Failure
from rtsep.models import architectures, configurations, create
from rtsep.models.base import Separator
from rtsep.streaming import StateSpec, without_countdowns

_FLOAT = 4  # bytes: what engines compute in


@dataclass(frozen=True)
class Costs:
    """Of a model, for one row of its batch.

    `parameters` are what is learnt. `macs` are multiply-accumulates per second of sound. A step of
    one hop reads `weight_bytes` of parameters and constants, and reads and writes `state_bytes`
    each: in float32, and only what the step touches (a head that is not heard costs nothing).
    """

    parameters: int
    macs: int
    weight_bytes: int
    state_bytes: int


def measure(model: Separator) -> Costs:
    """The costs of a model, from one step of one hop. The model is left in float64."""
    model = model.double().eval()  # the operators that fuse a recurrence know float32 alone
    state = without_countdowns(model.initial(1)[0])  # as soon as all of it has begun
    mixture = torch.zeros(1, model.hop, model.channels, dtype=torch.float64)
    counter = Counter(model)
    # Attention in one operator would hide its products.
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), counter:
            model.step(mixture, state)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return Costs(
        parameters=sum(p.numel() for p in model.parameters()),
        macs=round(counter.macs * model.rate / model.hop),
        weight_bytes=_FLOAT * sum(counter.touched.values()),
        state_bytes=sum(_bytes(leaf) for leaf in StateSpec.of(state).flatten(state)),
    )


def table(names: tuple[str, ...] | None = None) -> Iterator[dict]:
    """One row per configuration of these architectures (None: all), as JSON takes it.

    Keys: architecture, configuration (None where it has no name), rate, channels, stems, hop and
    latency in samples and (`hop_ms`, `latency_ms`) milliseconds, and those of `Costs`. Where
    something has to be installed first, `missing` says what, in place of all these.
    """
    for arch in names or architectures():
        for config in list(configurations(arch)) or [None]:
            yield {"architecture": arch, "configuration": config} | _row(arch, config)


class Counter(TorchDispatchMode):
    """Within it, products are counted, and what is read of a network's weights is noted.

    `counts` has multiply-accumulates by operator, `touched` the size in numbers of each parameter
    and buffer that was read, by name.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}
        self.touched: dict[str, int] = {}
        weights = [*network.named_parameters(), *network.named_buffers()]
        self._names = {_memory(value): (name, value.numel()) for name, value in weights}
        # What is computed from no signal, by its memory, which is held so that it is not reused.
        self._constant: dict[int, object] = {key: None for key in self._names}

    @property
    def macs(self) -> int:
        return sum(self.counts.values())

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        given = [_memory(value) for value in _tensors((args, kwargs))]
        for name, size in (self._names[key] for key in given if key in self._names):
            self.touched[name] = size
        constant = all(key in self._constant for key in given)
        for value in _tensors(out):
            if constant:
                self._constant[_memory(value)] = value.untyped_storage()
            else:
                self._constant.pop(_memory(value), None)
        if not constant and (count := _COUNTS.get(func.overloadpacket)):
            name = func.overloadpacket.__name__
            self.counts[name] = self.counts.get(name, 0) + count(out, *args, **kwargs)
        return out


def _row(arch: str, config: str | None) -> dict:
    try:
        model = create(arch, config)
    except Failure as failure:
        return {"missing": str(failure)}
    return {
        "rate": model.rate,
        "channels": model.channels,
        "stems": list(model.stems),
        "hop": model.hop,
        "hop_ms": 1e3 * model.hop / model.rate,
        "latency": model.latency,
        "latency_ms": 1e3 * model.latency / model.rate,
        **asdict(measure(model)),
    }


def _tensors(tree) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, dict):
        yield from _tensors(list(tree.values()))
    elif isinstance(tree, list | tuple):
        for part in tree:
            yield from _tensors(part)


def _memory(value: Tensor) -> int:
    """What a tensor and all views of it share."""
    return value.untyped_storage()._cdata


def _product(out, a, b, **_) -> int:
    """(…, n, k) by (…, k, m), or with a vector."""
    return out.numel() * a.shape[-1]


def _added_product(out, added, a, b, **_) -> int:
    return out.numel() * a.shape[-1]


def _convolution(out, x, weight, bias, stride, padding, dilation, transposed, *_, **__) -> int:
    # Each number of the input, or of the output, meets the kernel of its channel once.
    return (x if transposed else out).numel() * math.prod(weight.shape[1:])


def _elementwise(out, a, b, **_) -> int:
    """Products with a constant number are scalings that engines fold away."""
    return out.numel() if isinstance(a, Tensor) and isinstance(b, Tensor) and _float(out) else 0


def _attention(out, query, key, value, *_, **__) -> int:
    scores = math.prod(query.shape[:-1]) * key.shape[-2]
    return scores * (query.shape[-1] + value.shape[-1])


def _real_transform(out, x, axes, *_, **__) -> int:
    points = math.prod(x.shape[axis] if x.dtype.is_floating_point else 1 for axis in axes)
    longest = max(x.numel(), out.numel())
    return round(longest * math.log2(max(2, points)))


def _complex_transform(out, x, axes, *_, **__) -> int:
    points = math.prod(x.shape[axis] for axis in axes)
    return round(2 * x.numel() * math.log2(max(2, points)))


def _inverse_transform(out, x, axes, normalization, last, **_) -> int:
    return round(out.numel() * math.log2(max(2, last)))


def _bytes(value: Tensor) -> int:
    return value.numel() * (_FLOAT if _float(value) else value.element_size())


def _float(value: Tensor) -> bool:
    return value.dtype.is_floating_point


_aten = torch.ops.aten
_COUNTS: dict[object, Callable[..., int]] = {
    _aten.mm: _product,
    _aten.bmm: _product,
    _aten.mv: _product,
    _aten.dot: _product,
    _aten.addmm: _added_product,
    _aten.addmv: _added_product,
    _aten.baddbmm: _added_product,
    _aten.convolution: _convolution,
    _aten.mul: _elementwise,
    _aten.mul_: _elementwise,
    _aten._scaled_dot_product_flash_attention_for_cpu: lambda out, *a, **k: _attention(out[0], *a),
    _aten._fft_r2c: _real_transform,
    _aten._fft_c2r: _inverse_transform,
    _aten._fft_c2c: _complex_transform,
}
