"""Sessions of ONNX Runtime's other providers, each of which takes a whole step or none of it.

A provider is built into the ONNX Runtime that is installed (`onnxruntime-gpu`), or is a plug-in: a
package of its own, which names a library that is registered once in a process. A step that went to
and fro between a provider and the processor would be slower than on either, so that is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module

import onnxruntime as ort

from rtsep.engines.onnxruntime import options
from rtsep.engines.protocol import StreamSpec
from rtsep.errors import Failure

Options = dict[str, str]


def built_in(
    spec: StreamSpec, graph: bytes, providers: Sequence[tuple[str, Options]]
) -> ort.InferenceSession:
    """Each node goes to the first provider that takes it. Raises `Failure` where none does."""
    try:
        return ort.InferenceSession(graph, _alone(), providers=providers, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's have no base of their own
        raise failure(spec, error) from None


def plugged_in(
    spec: StreamSpec, graph: bytes, module: str, device: str, provided: Options
) -> ort.InferenceSession:
    """Of the plug-in that a module brings, on its first device of a type ("CPU", "GPU").

    Raises `Failure` where there is no such device, or it does not take the step.
    """
    made = _alone()
    try:
        provider = _registered(module)
        devices = [
            found
            for found in ort.get_ep_devices()
            if found.ep_name == provider and found.device.type.name == device
        ]
        if not devices:
            package = module.replace("_", "-")
            raise Failure(f"engine {spec.engine}: {package} finds no {device} here that it takes")
        made.add_provider_for_devices(devices[:1], provided)
        return ort.InferenceSession(graph, made)
    except Failure:
        raise
    except Exception as error:
        raise failure(spec, error) from None


def failure(spec: StreamSpec, error: Exception) -> Failure:
    """What ONNX Runtime said about a step, in one line."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return Failure(f"engine {spec.engine} can't run {spec.model}: {reason}")


@cache
def _registered(module: str) -> str:
    """The name of a plug-in's provider."""
    plugin = import_module(module)
    ort.register_execution_provider_library(plugin.get_ep_name(), plugin.get_library_path())
    return plugin.get_ep_name()


def _alone() -> ort.SessionOptions:
    made = options()
    made.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return made
