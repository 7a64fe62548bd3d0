"""What engines had to build, kept under the user's cache folder by the content that went in.

An entry is one file: a line of JSON (its key, and name, size and SHA-256 of each part), then the
parts. It is written under a temporary name and moved into place, so that a reader finds all of it
or nothing, whoever builds at the same time; and it is checked whenever it is read.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rtsep.errors import Failure

if TYPE_CHECKING:
    from rtsep.engines.protocol import StreamSpec

Parts = dict[str, bytes]
Made = TypeVar("Made")
UNUSED_DAYS = 60
# The shelf of what engines are built from, which none needs to run.
STEPS = "steps"
_HEADER_LIMIT = 1 << 20
# Packages that bring the same module: of ONNX Runtime, each with other providers.
_TWINS = {"onnxruntime": ("onnxruntime-gpu", "onnxruntime-openvino")}


def folder() -> Path:
    """`RTSEP_CACHE_DIR` where that is set, else the platform's folder for caches."""
    if chosen := os.environ.get("RTSEP_CACHE_DIR"):
        return Path(chosen)
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("rtsep"))


def key(engine: str, libraries: tuple[str, ...], **content: str | int) -> str:
    """The address of what `engine` builds from `content`, here and now.

    It covers our own sources, the versions of the libraries and the processor too.
    """
    parts = {
        "engine": engine,
        "content": content,
        "source": source_version(),
        "libraries": {library: version_of(library) for library in libraries},
        "processor": processor(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def key_of(spec: StreamSpec, libraries: tuple[str, ...], **more: str | int) -> str:
    """The address of what is built for a stream, and of what `more` decides about it."""
    return key(
        spec.engine,
        libraries,
        digest=spec.digest,
        chunk=spec.chunk,
        batch=spec.batch,
        precision=spec.precision,
        **more,
    )


class Refused(Exception):
    """A library does not take what an entry holds, whole as it is: it has to be built anew."""


def kept(
    key: str, make: Callable[[], Parts], progress: Callable[[str], None], shelf: str = "engines"
) -> Parts:
    """The parts of an entry, which `make` makes, and which are kept, where there is none."""
    parts = read(key, shelf)
    if parts is None:
        parts = make()
        try:
            write(key, parts, shelf)
        except OSError as error:
            progress(f"not kept for next time: {error.strerror or error} in {folder()}")
    return parts


def loaded(
    key: str,
    make: Callable[[], Parts],
    load: Callable[[Parts], Made],
    progress: Callable[[str], None],
) -> Made:
    """What `load` makes of the parts. Where it raises `Refused`, they are made anew, once."""
    try:
        return load(kept(key, make, progress))
    except Refused as reason:
        progress(f"building anew what was kept: {reason}")
    _path(key).unlink(missing_ok=True)
    try:
        return load(kept(key, make, progress))
    except Refused as reason:
        raise Failure(f"what was just built can't be loaded: {reason}") from None


def read(key: str, shelf: str = "engines") -> Parts | None:
    """The parts of an entry; None where there is none, or where it is not what was written."""
    path = _path(key, shelf)
    try:
        content = memoryview(path.read_bytes())
    except OSError:
        return None
    try:
        end = bytes(content[:_HEADER_LIMIT]).index(b"\n")
        header = json.loads(bytes(content[:end]))
        if header["key"] != key:
            return None
        parts, start = {}, end + 1
        for name, size, digest in header["parts"]:
            parts[name] = bytes(content[start : start + size])
            start += size
            if hashlib.sha256(parts[name]).hexdigest() != digest:
                return None
    except (ValueError, KeyError, TypeError):
        return None
    if start != len(content):
        return None
    try:
        os.utime(path)  # used just now: see `_drop_unused`
    except OSError:
        pass
    return parts


def write(key: str, parts: Parts, shelf: str = "engines") -> None:
    """Keeps an entry, in the place of one with the same key. Raises `OSError` where it can't."""
    summary = [[name, len(part), hashlib.sha256(part).hexdigest()] for name, part in parts.items()]
    path = _path(key, shelf)
    path.parent.mkdir(parents=True, exist_ok=True)
    _drop_unused(path.parent)
    handle, temporary = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(json.dumps({"key": key, "parts": summary}).encode() + b"\n")
            for part in parts.values():
                file.write(part)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@cache
def processor() -> str:
    """The processor's architecture, model and features."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        named = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
        fields = {name.strip(): value.strip() for name, value in named.items()}
    except OSError:
        fields = {}
    model = fields.get("model name") or platform.processor()
    features = fields.get("flags") or fields.get("Features") or ""
    digest = hashlib.sha256(features.encode()).hexdigest()[:16]
    return f"{platform.system()} {platform.machine()} {model} {digest}"


@cache
def source_version() -> str:
    """A hash of all of ours that decides what a built step computes."""
    import rtsep

    package, engines = Path(rtsep.__file__).parent, Path(__file__).parent
    homes = [package / name for name in ("streaming", "layers", "models")]
    homes += [engines, engines / "native"]
    digest = hashlib.sha256(rtsep.__version__.encode())
    for home in homes:
        for file in sorted(home.glob("*.py")):
            digest.update(f"\n{home.name}/{file.name}\n".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def version_of(library: str) -> str:
    """Of an installed package, or of one in its place; "unknown" where there is none."""
    try:
        return version(library)
    except PackageNotFoundError:
        pass
    for twin in _TWINS.get(library, ()):
        try:
            return f"{version(twin)} of {twin}"
        except PackageNotFoundError:
            continue
    return "unknown"


def _path(key: str, shelf: str = "engines") -> Path:
    return folder() / shelf / f"{key}.entry"


def _drop_unused(home: Path) -> None:
    """Forgets what nobody has used for long, so that upgrades don't fill the disk."""
    limit = time.time() - UNUSED_DAYS * 86400
    for file in home.iterdir():
        try:
            if file.suffix in (".entry", ".part") and file.stat().st_mtime < limit:
                file.unlink()
        except OSError:
            continue  # another process was faster
