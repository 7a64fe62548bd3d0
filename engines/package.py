"""A model with all that was built for it, as a folder to hand on: made once, started at once.

    FOLDER/package.json       what it was made of and for
    FOLDER/model.safetensors  the checkpoint
    FOLDER/engines/*.entry    what the engines built, as the cache keeps it

It holds for one processor and one set of versions. Anywhere else it is refused, with the command
that makes it anew: a step that was compiled for another processor may not run at all.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rtsep.engines import cache
from rtsep.errors import Failure, WrongCall

MANIFEST = "package.json"
MODEL = "model.safetensors"


@contextmanager
def making(folder: Path, checkpoint: Path) -> Iterator[Callable[[Sequence[dict]], Path]]:
    """Everything that engines build meanwhile is put into `folder`, which must be new or empty.

    The function given is called last, with what was built (engine, precision, chunk, batch): the
    package is complete then. Raises `WrongCall` where the folder holds something, `Failure` where
    it can't be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise WrongCall(f"{folder}: exists and is not an empty folder")
    before = os.environ.get("RTSEP_CACHE_DIR")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(checkpoint, folder / MODEL)
        os.environ["RTSEP_CACHE_DIR"] = str(folder)
        yield lambda built: _complete(folder, built)
    except OSError as error:
        raise Failure(f"can't write {folder}: {error.strerror or error}") from None
    finally:
        if before is None:
            os.environ.pop("RTSEP_CACHE_DIR", None)
        else:
            os.environ["RTSEP_CACHE_DIR"] = before
        if not (folder / MANIFEST).exists():
            shutil.rmtree(folder, ignore_errors=True)


def adopt(folder: Path) -> list[dict]:
    """Takes what a package holds into the cache, and gives the rows that say what was built.

    Raises `Failure` where it is not made for here.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        made, built = manifest["made_for"], manifest["built"]
        again = " && ".join(_command(folder, row) for row in built)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise Failure(f"{folder}: its {MANIFEST} can't be read ({error})") from None
    here = _here(row["engine"] for row in built)
    for name in made | here:
        if made.get(name) != here.get(name):
            raise Failure(
                f"{folder}: made for {name} {made.get(name)}, here is {here.get(name)}; "
                f"make it anew: {again}"
            )
    home = cache.folder() / "engines"
    try:
        home.mkdir(parents=True, exist_ok=True)
        for entry in (folder / "engines").glob("*.entry"):
            if not (home / entry.name).exists():
                temporary = home / f".{entry.stem}.{os.getpid()}.part"
                shutil.copyfile(entry, temporary)
                os.replace(temporary, home / entry.name)
    except OSError as error:
        raise Failure(f"can't take {folder} into {home}: {error.strerror or error}") from None
    return built


def _complete(folder: Path, built: Sequence[dict]) -> Path:
    shutil.rmtree(folder / cache.STEPS, ignore_errors=True)
    manifest = {"made_for": _here(row["engine"] for row in built), "built": list(built)}
    path = folder / MANIFEST
    path.write_text(json.dumps(manifest, indent=2) + "\n")
    return path


def _here(engines: Iterable[str]) -> dict[str, str]:
    """What a package depends on beside its model."""
    from rtsep.engines import EXPORT, libraries

    names = dict.fromkeys([*EXPORT, *(name for engine in engines for name in libraries(engine))])
    return {"processor": cache.processor(), "sources": cache.source_version()[:16]} | {
        name: cache.version_of(name) for name in names
    }


def _command(folder: Path, row: dict) -> str:
    return (
        f"rtsep build {folder / MODEL} --engine {row['engine']} --precision {row['precision']} "
        f"--chunk {row['chunk']} --batch {row['batch']} --out NEW"
    )
