"""What can't be streamed, said with the names of the layers that stand in the way."""

from __future__ import annotations

from collections.abc import Sequence

from rtsep.checkpoints.importers.tensors import Tensors
from rtsep.errors import Failure

_OFFER = "rtsep.streaming.Blockwise runs such a network in blocks, as late as the future it sees"


def not_causal(layers: Sequence[str], why: str = "look ahead") -> Failure:
    """The refusal to raise where these layers of a public form need the future.

    `why` goes on after their names: "look ahead", "see the whole signal".
    """
    named = ", ".join(layers)
    if len(layers) > 3:
        named = f"{layers[0]} to {layers[-1]} ({len(layers)} layers)"
    return Failure(f"the checkpoint is not causal: {named} {why}; {_OFFER}")


def refuse_backwards(public: Tensors) -> None:
    """Raises where a recurrent layer also runs backwards in time, by torch's names."""
    found = [layer for (layer,) in public.names(r"(.*?)\.?weight_ih_l0_reverse$")]
    if found:
        raise not_causal([layer or "the LSTM" for layer in found], "run backwards in time, too")


def refuse_batch_norms(public: Tensors) -> None:
    """Raises for batch norms, in formats whose causal form has none."""
    if found := [layer for (layer,) in public.names(r"(.*)\.running_mean$")]:
        raise Failure(
            f"the model has batch norms ({found[0]}): "
            "only the causal layer norms, per frame and cumulative, can be streamed"
        )
