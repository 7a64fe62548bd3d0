"""ONNX Runtime's other providers: their bindings, tried on the processor; and what is refused."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnx_ir
import onnxruntime as ort
import pytest
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
from rtsep.engines import cache, onnxruntime, providers, requirements
from rtsep.engines.onnxruntime_cuda import OnGpu, cuda
from rtsep.engines.source import Source
from rtsep.engines.tensorrt import step_graph
from rtsep.errors import Failure

PROVIDERS = ("onnxruntime-cuda", "onnxruntime-tensorrt", "onnxruntime-openvino")


def on_processor(model, chunk, batch=1, precision="float32") -> OnGpu:
    """What the engines for GPUs do, on the processor and with its provider."""
    source = Source(model)
    spec = source.stream("onnxruntime-cuda", chunk, batch, precision)
    graph, leaves = step_graph(source, spec, lambda text: None)
    content = onnx_ir.to_proto(graph).SerializeToString()
    return OnGpu(spec, lambda stream: onnxruntime.session(content), leaves)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_bindings_of_every_architecture(arch):
    """Some in two rows too; and again after a reset, to the bit."""
    model = tiny(arch)
    for batch in (1, 2) if arch in ("convtasnet", "hstasnet", "demucs") else (1,):
        mixture = sound((batch, model.channels, 200 * model.hop), seed=3) + np.float32(0.01)
        expected = run(engines.build(model, "eager", chunk=model.hop, batch=batch), mixture)
        built = on_processor(model, model.hop, batch)
        found = run(built, mixture)
        assert ratio(expected, found) >= BOUNDS["float32"]
        built.reset()
        assert np.array_equal(run(built, mixture), found)


def test_rows_pause_and_reset_alone_on_a_device():
    check_rows_stay_alone(on_processor)


def test_float16_is_that_of_products():
    model = make()
    mixture = sound((1, 1, 64 * 200))
    expected = run(engines.build(model, "eager", chunk=64), mixture)
    found = ratio(expected, run(on_processor(model, 64, precision="float16"), mixture))
    assert BOUNDS["float16"] <= found < 80


def test_closed_on_a_device():
    built = on_processor(make(blocks=1, repeats=1), 64)
    built.close()
    with pytest.raises(Failure, match="closed"):
        built.process(*(np.zeros(s, np.float32) for s in (built.spec.mixture_shape,) * 2))


@pytest.mark.parametrize(
    ("missing", "package"),
    [
        (lambda: requirements._built_in("cuda", "CUDA"), "pip install onnxruntime-gpu"),
        (lambda: requirements._built_in("tensorrt", "TensorRT"), "pip install onnxruntime-gpu"),
        (requirements.openvino_provider, "pip install onnxruntime-ep-openvino"),
    ],
)
def test_a_missing_provider_names_its_package(missing, package):
    reason = missing()
    if reason is None:
        pytest.skip("it is there")
    assert package in reason and "\n" not in reason


@pytest.mark.parametrize("engine", PROVIDERS)
def test_what_lacks_is_said_before_anything_is_built(engine):
    reason = engines.available()[engine]
    if reason is None:
        pytest.skip("it is there")
    with pytest.raises(Failure) as refused:
        engines.build(make(), engine)
    assert str(refused.value) == f"engine {engine}: {reason}"


def test_the_providers_that_are_there_are_found_without_loading_them(tmp_path, monkeypatch):
    for name in ("libonnxruntime_providers_cuda.so", "onnxruntime_providers_tensorrt.dll"):
        (tmp_path / "onnxruntime" / "capi").mkdir(parents=True, exist_ok=True)
        (tmp_path / "onnxruntime" / "capi" / name).write_bytes(b"not loaded")
    (tmp_path / "onnxruntime" / "__init__.py").write_text("raise RuntimeError('loaded')")
    script = "from rtsep.engines import requirements as r; print(r._has('cuda'), "
    script += "r._has('tensorrt'), r._has('openvino'))"
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["True", "True", "False"], done.stderr


def test_a_step_is_never_left_to_the_processor():
    """A provider that isn't there, and ONNX Runtime's own habit of going on without."""
    spec = replace(Source(make()).stream("onnxruntime-cuda", 64, 1, "float32"), device="cuda")
    graph, _ = step_graph(Source(make()), spec, lambda text: None)
    content = onnx_ir.to_proto(graph).SerializeToString()
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("it is there")
    asked = [cuda(SimpleNamespace(cuda_stream=0), enable_cuda_graph="1")]
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):
        with pytest.raises(Failure, match="engine onnxruntime-cuda can't run convtasnet: ") as said:
            providers.built_in(spec, content, asked)
    assert "\n" not in str(said.value)


def test_a_plug_in_without_a_device_and_one_that_does_not_load(tmp_path, monkeypatch):
    spec = Source(make()).stream("onnxruntime-openvino", 64, 1, "float32")
    plugin = "def get_ep_name(): return 'Other'\ndef get_library_path(): return {!r}\n"
    (tmp_path / "broken_plugin.py").write_text(plugin.format(str(tmp_path / "absent.so")))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Failure, match="engine onnxruntime-openvino .*absent.so"):
        providers.plugged_in(spec, b"", "broken_plugin", "CPU", {})
    monkeypatch.setattr(providers, "_registered", lambda module: "OtherExecutionProvider")
    with pytest.raises(Failure, match="any-plugin finds no GPU here that it takes"):
        providers.plugged_in(spec, b"", "any_plugin", "GPU", {})


def test_versions_of_packages_that_take_each_others_place(monkeypatch):
    installed = {"onnxruntime-gpu": "1.31.1"}

    def version(name):
        if name not in installed:
            raise cache.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(cache, "version", version)
    assert cache.version_of("onnxruntime") == "1.31.1 of onnxruntime-gpu"
    assert cache.version_of("llvmlite") == "unknown"
    installed["onnxruntime"] = "1.32.0"
    assert cache.version_of("onnxruntime") == "1.32.0"
