"""Separation of whole signals and files: the same path as live, without waiting for time to pass.

The stems have the mixture's length and lie sample by sample under it: latency is taken out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from rtsep.errors import Failure, WrongCall
from rtsep.pipeline import Pipeline, build

_BLOCK = 16_384  # samples at once: what bounds the memory


def separate(
    mixture: np.ndarray,
    rate: int,
    model="convtasnet",
    *,
    engine: str = "auto",
    chunk: int | None = None,
    precision: str | None = None,
    full_band: bool = True,
) -> dict[str, np.ndarray]:
    """Each stem's name and sound, float32, in the shape of `mixture`.

    `mixture` is (channels, samples) or (samples,).

    `rate` is the mixture's, in Hz; full scale is ±1. `model` is a shipped one's name, a
    checkpoint's path or a `Separator`; `engine`, `chunk` and `precision` are those of
    `rtsep.engines.build` (a larger chunk is faster and gives the same to 1e-5). The stems sum to
    the mixture; `full_band`: what it has above the model's band is shared among them, or all the
    remainder's.

    Raises `WrongCall` for a mixture that is no such array, or holds no samples, NaN or infinity.
    """
    mixture = np.asarray(mixture)
    if mixture.ndim not in (1, 2) or mixture.dtype.kind != "f":
        raise WrongCall(
            f"a mixture of shape {mixture.shape} and type {mixture.dtype}: "
            "it must be (channels, samples) or (samples,), in floating point"
        )
    sound = np.atleast_2d(mixture)
    if sound.shape[1] == 0:
        raise WrongCall("the mixture holds no samples")
    if not np.isfinite(sound).all():
        raise WrongCall("the mixture holds NaN or infinity")
    pipeline = build(
        model,
        rate,
        sound.shape[0],
        engine=engine,
        chunk=chunk,
        precision=precision,
        full_band=full_band,
    )
    try:
        stems = np.empty((len(pipeline.stems), *sound.shape), np.float32)
        blocks = (sound[:, n : n + _BLOCK] for n in range(0, sound.shape[1], _BLOCK))
        done = 0
        for part in _stems(pipeline, blocks):
            stems[:, :, done : done + part.shape[2]] = part
            done += part.shape[2]
    finally:
        pipeline.close()
    return {
        name: stem.reshape(mixture.shape) for name, stem in zip(pipeline.stems, stems, strict=True)
    }


def separate_file(
    path: str | Path,
    folder: str | Path,
    pipeline: Pipeline,
    *,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Path]:
    """Writes `folder`/STEM.wav for each stem, in bounded memory, and says where.

    `pipeline` is for the file's rate and channels, and is reset; `progress` hears of every block
    of samples that was read. Raises `Failure` where the file can't be read or the stems can't be
    written; then none of them is left, nor a folder that was made for them.
    """
    from rtsep.audio.files import Reader, Writer

    targets = {stem: Path(folder) / f"{stem}.wav" for stem in pipeline.stems}
    if any(target.parent != Path(folder) for target in targets.values()):
        raise Failure(f"the model's stems {pipeline.stems} can't be names of files")
    pipeline.reset()
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(Reader(path))
        if (reader.rate, reader.channels) != (pipeline.rate, pipeline.channels):
            raise WrongCall(
                f"{path}: {reader.rate} Hz and {reader.channels} channels, the pipeline takes "
                f"{pipeline.rate} Hz and {pipeline.channels}"
            )
        stack.enter_context(_new_folder(Path(folder)))
        writers = [
            stack.enter_context(
                Writer(target, reader.rate, reader.channels, overwrite, reader.frames)
            )
            for target in targets.values()
        ]
        try:
            for part in _stems(pipeline, _counted(reader.blocks(_BLOCK), progress)):
                for writer, stem in zip(writers, part, strict=True):
                    writer.write(stem)
        except _NotFinite as error:
            raise Failure(f"{path}: {error}") from None
        for writer in writers:  # all are whole before the first gets its name
            writer.complete()
    return targets


class _NotFinite(Failure):
    pass


def _stems(pipeline: Pipeline, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The stems (stems, channels, n) of all blocks together, as long as they are."""
    before, total = pipeline.resets, 0
    for block in blocks:
        total += block.shape[1]
        yield pipeline.process(block)
    yield pipeline.flush(total)
    if pipeline.resets > before:
        raise _NotFinite("the model gave NaN or infinity; is the sound within full scale, ±1?")


def _counted(blocks: Iterator[np.ndarray], progress) -> Iterator[np.ndarray]:
    for block in blocks:
        yield block
        if progress is not None:
            progress(block.shape[1])


@contextlib.contextmanager
def _new_folder(folder: Path) -> Iterator[None]:
    """Makes a folder and those above it; where the body fails, those made here go again."""
    made = []
    try:
        try:
            for path in [*reversed(folder.parents), folder]:
                if not path.exists():
                    path.mkdir(exist_ok=True)
                    made.append(path)
            if not folder.is_dir():
                raise Failure(f"{folder}: is not a folder")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise Failure(f"can't make the folder {folder}: {reason}") from None
        yield
    except BaseException:
        for path in reversed(made):
            with contextlib.suppress(OSError):  # someone else put something there: it stays
                path.rmdir()
        raise
