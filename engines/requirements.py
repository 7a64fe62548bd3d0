"""What an engine needs of the machine beyond packages: None where it is there, else what lacks."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from rtsep.engines import cache

TENSORRT = ("tensorrt_rtx", "tensorrt")
OPENVINO_PLUGIN = "onnxruntime_ep_openvino"
_COMPILERS = ("g++", "clang++", "c++", "cl")
_DRIVERS = {"linux": "libcuda.so.1", "win32": "nvcuda.dll"}


def compiler() -> str | None:
    """A C++ compiler, `CXX` or one of the usual names."""
    chosen = os.environ.get("CXX")
    for name in (chosen,) if chosen else _COMPILERS:
        if shutil.which(name):
            return None
    return f"no C++ compiler ({chosen or ', '.join(_COMPILERS)}): apt install g++, or set CXX"


def gpu() -> str | None:
    """An NVIDIA GPU with its driver, and a torch that was built for it."""
    try:
        driver = ctypes.CDLL(_DRIVERS[sys.platform])
    except (KeyError, OSError):
        return "no NVIDIA driver on this machine"
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return "no NVIDIA GPU on this machine"
    # What torch itself would tell, without loading it.
    if (installed := cache.version_of("torch")).endswith("+cpu"):
        return f"torch {installed} is built without CUDA: pip install torch"
    return None


def tensorrt() -> str | None:
    """One of TensorRT's modules, and a GPU to run on."""
    if not any(find_spec(module) for module in TENSORRT):
        return f"{' or '.join(TENSORRT)} is not installed: pip install 'rtsep[tensorrt]'"
    return gpu()


def cuda_provider() -> str | None:
    """ONNX Runtime's provider for CUDA, and a GPU to run on."""
    return gpu() or _built_in("cuda", "CUDA")


def tensorrt_provider() -> str | None:
    """ONNX Runtime's provider for TensorRT, and a GPU to run on."""
    return gpu() or _built_in("tensorrt", "TensorRT")


def openvino_provider() -> str | None:
    """ONNX Runtime's provider for OpenVINO, built in or as a plug-in."""
    if _has("openvino") or find_spec(OPENVINO_PLUGIN):
        return None
    package = OPENVINO_PLUGIN.replace("_", "-")
    return f"{package} is not installed: pip install {package}"


def _built_in(library: str, provider: str) -> str | None:
    if _has(library):
        return None
    return (
        f"the installed onnxruntime is without {provider}: "
        "pip uninstall onnxruntime; pip install onnxruntime-gpu"
    )


def _has(library: str) -> bool:
    """Whether the installed ONNX Runtime brings a provider's library; it is not loaded."""
    found = find_spec("onnxruntime")
    homes = (found.submodule_search_locations or ()) if found else ()
    names = [f"libonnxruntime_providers_{library}.so", f"onnxruntime_providers_{library}.dll"]
    return any((Path(home) / "capi" / name).exists() for home in homes for name in names)
