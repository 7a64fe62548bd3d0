"""A model's step as one ONNX graph with explicit state.

Inputs `mixture` (batch, channels, chunk) and `state.*`, outputs `stems` (batch, stems, channels,
chunk) and `next.*`, one of each per leaf of the state, all shapes static.
"""

from __future__ import annotations

import logging
import warnings

import onnx_ir as ir
import onnx_ir.passes.common as common
import torch
from onnxscript import optimizer
from torch import Tensor, nn

from rtsep.engines.protocol import Unexportable
from rtsep.engines.state import Leaf
from rtsep.models.base import Separator
from rtsep.streaming import StateSpec

OPSET = 18


def export_step(network: Separator, chunk: int, batch: int) -> tuple[ir.Model, list[Leaf]]:
    """The graph, and the leaves in the order of its inputs and outputs."""
    step, example, names, leaves = prepared(network, chunk, batch)
    with torch.no_grad(), _quiet():
        try:
            program = torch.onnx.export(
                step,
                example,
                input_names=["mixture", *(f"state.{name}" for name in names)],
                output_names=["stems", *(f"next.{name}" for name in names)],
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                optimize=False,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError:
            # A network of other people's code may decide by the sound's values, or print.
            raise Unexportable(
                f"the network of {network.arch} can't be exported: --engine eager runs it"
            ) from None
        _fold(program.model)
    return program.model, leaves


def prepared(
    network: Separator, chunk: int, batch: int
) -> tuple[nn.Module, tuple[Tensor, tuple[Tensor, ...]], list[str], list[Leaf]]:
    """The step as a module of sound and leaves, what it is called with, and the leaves by name."""
    state, _ = network.initial(batch)
    tree = StateSpec.of(state)
    tensors = tree.flatten(state)
    named = [(k, leaf) for k, leaf in zip(tree.names, tensors, strict=True) if leaf.numel()]
    example = (torch.zeros(batch, network.channels, chunk), tuple(leaf for _, leaf in named))
    names = [name for name, _ in named]
    leaves = [_leaf(name, tensor) for name, tensor in named]
    return _Step(network, tree, tensors).eval(), example, names, leaves


class _Step(nn.Module):
    """The step in the layout of engines, on the leaves that hold anything."""

    def __init__(self, network: Separator, tree: StateSpec, leaves: list[Tensor]) -> None:
        super().__init__()
        self.network, self.tree = network, tree
        # A context of no frames is a tensor of no elements: nothing to hand in or out.
        self.empty = {i: tuple(leaf.shape) for i, leaf in enumerate(leaves) if not leaf.numel()}

    def forward(self, mixture: Tensor, leaves: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        given = iter(leaves)
        complete = [
            mixture.new_zeros(self.empty[i]) if i in self.empty else next(given)
            for i in range(len(self.tree.names))
        ]
        y, following = self.network.step(mixture.transpose(1, 2), self.tree.unflatten(complete))
        kept = [leaf for i, leaf in enumerate(self.tree.flatten(following)) if i not in self.empty]
        # A leaf that a step hands on as it is must still be an output of its own.
        kept = [leaf.clone() if any(leaf is given for given in leaves) else leaf for leaf in kept]
        return y.permute(0, 2, 3, 1), *kept


def _fold(model: ir.Model) -> None:
    """What the exporter's own optimiser does, less its rewrite rules.

    Those take any number within 1e-8 of 0 for 0, and so drop the epsilon of a norm (onnxscript
    0.7, rule "x + 0").
    """
    optimizer.fold_constants(model)
    ir.passes.Sequential(
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.RemoveUnusedNodesPass(),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
    )(model)


def _leaf(name: str, tensor: Tensor) -> Leaf:
    row = tensor[0].flatten()
    fresh = row[0].item() if (row == row[0]).all() else row.tolist()
    return Leaf(name, tuple(tensor.shape), str(tensor.numpy().dtype), fresh)


class _quiet(warnings.catch_warnings):  # noqa: N801 - used like the function it extends
    """The exporter warns of packages it would like and of its own deprecations."""

    def __enter__(self):
        self._level = logging.getLogger("torch.onnx").level
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        entered = super().__enter__()
        warnings.simplefilter("ignore")
        return entered

    def __exit__(self, *exception) -> None:
        logging.getLogger("torch.onnx").setLevel(self._level)
        super().__exit__(*exception)
