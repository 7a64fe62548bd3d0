"""Another model, engine or chunk while the run goes on: what is asked for, checked and made."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace

from rtsep import untrained
from rtsep.checkpoints import read_spec
from rtsep.errors import Failure, WrongCall
from rtsep.live import layout
from rtsep.live.description import describe
from rtsep.live.latency import Latency
from rtsep.live.layout import Block
from rtsep.live.options import Options
from rtsep.live.process import WorkerProcess
from rtsep.live.succession import Change
from rtsep.live.wiring import THE_MIX
from rtsep.models import find

FILL = 2.0  # s of sound in which states fill: more than the context of any model that ships
ROOM = 8  # stems that a run has slots for, so that other models find theirs


@dataclass(frozen=True)
class Made:
    """What a worker has built: its process, what for, and what it said that this is."""

    process: WorkerProcess
    job: dict
    info: dict


class Swaps:
    """The changes of one run, one at a time. `spare`, by model: workers that are ready for one."""

    def __init__(self, session):
        self._session = session
        self.spare: dict[str, Made] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._building: WorkerProcess | None = None
        self._over = False

    @property
    def busy(self) -> bool:
        """Whether a change is under way."""
        return self._thread is not None and self._thread.is_alive()

    def request(
        self,
        model: str | None = None,
        engine: str | None = None,
        chunk: int | None = None,
        factory: str | None = None,
    ) -> Future:
        """See `Session.swap`."""
        return self.start(self._wanted(model, engine, chunk, factory))

    def start(self, wanted: Options) -> Future:
        """The same, with all that the run is to be."""
        if wanted.factory is None:
            spec = read_spec(find(wanted.model))
            check_routes(wanted, spec.name, spec.stems)
            self._session.takes.check(spec.name, spec.stems, longer=False)
        future: Future = Future()
        with self._lock:
            if self._over:
                raise Failure("the run is over")
            if self.busy:
                raise Failure("another model is about to be heard already")
            self._thread = threading.Thread(
                target=self._swap, args=(wanted, future), name="swap", daemon=True
            )
            self._thread.start()
        return future

    def prepare(self, wanted: Options, progress: Callable[[str], None]) -> Made:
        """Has a worker ready for a change that may come. Raises what building raises."""
        made = self.spare[key(wanted)] = self._build(wanted, progress)
        return made

    def stop(self) -> None:
        """The run ends: what is being built is dropped, and no worker follows any more."""
        with self._lock:
            self._over = True
            if self._building is not None:
                self._building.kill()
        self._session.workers.settle()
        if self._thread is not None:
            self._thread.join()
        for made in self.spare.values():
            made.process.stop()
        self.spare.clear()

    def _wanted(self, model, engine, chunk, factory) -> Options:
        now = self._session.options
        if model is None and engine is None and chunk is None and factory is None:
            raise WrongCall("swap: name a model, an engine or a chunk")
        changes: dict = {}
        if model is not None or factory is not None:
            # What a chunk may be depends on the model.
            changes |= {"model": str(model or now.model), "factory": factory, "chunk": None}
        if engine is not None:
            changes |= {"engine": engine, "precision": None}
        if chunk is not None:
            changes["chunk"] = chunk
        return replace(now, **changes)

    def _swap(self, wanted: Options, future: Future) -> None:
        session, began, before = self._session, time.monotonic(), self._session.info
        made = None
        try:
            made = self.spare.pop(key(wanted), None)
            made = made or self._build(wanted, session.workers.tell)
            change = self._change(wanted, made)
            session.workers.follow(change)
            change.done.result()
        except Failure as failure:
            if made is not None:
                made.process.stop()
            name = made.info["model"] if made is not None else wanted.factory or wanted.model
            session.workers.tell(f"no change to {name}: {failure}")
            future.set_exception(failure)
        else:
            session.workers.tell(
                f"{_named(made.info)} is heard in place of {_named(before)}, after "
                f"{time.monotonic() - began:.1f} s"
            )
            future.set_result(None)

    def _build(self, wanted: Options, progress: Callable[[str], None]) -> Made:
        with self._lock:
            if self._over:
                raise Failure("the run is over")
            process = self._building = WorkerProcess()
        job = wanted.job(self._session.rate, self._session.channels)
        try:
            return Made(process, job, process.build(job, progress))
        except BaseException:
            process.stop()
            raise
        finally:
            self._building = None

    def _change(self, wanted: Options, made: Made) -> Change:
        """Raises `Failure` where this can't follow what is heard now."""
        session, info = self._session, made.info
        stems = tuple(info["stems"])
        check_routes(wanted, info["model"], stems)
        session.takes.check(info["model"], stems, longer=False)
        slots = session.slots.room_for(info["model"], stems, session.stems)
        latency = padded(session.latency_of(made), session.latency)
        longer = latency.internal > session.latency.internal
        return Change(
            process=made.process,
            job=made.job,
            info=info,
            slots=slots,
            latency=latency.internal,
            warm=round(FILL * session.rate),
            moment=session.takes.change(info["model"], stems, info["remainder"], slots, longer),
            adopt=lambda: session.adopt(wanted, info, slots, latency),
        )


class Slots:
    """Which slot of the block each stem has: by name, for as long as it is not needed by another.

    `by_name` holds those of earlier models too: who comes back finds the controls where they were.
    """

    def __init__(self, block: Block, stems: tuple[str, ...], room: int):
        self._block, self._room = block, room
        self.by_name = {name: k for k, name in enumerate(stems)}

    def room_for(self, model: str, stems: tuple[str, ...], running: tuple[str, ...]) -> list[int]:
        """Slots for the stems of a model that is to follow the running one's. Raises `Failure`."""
        taken = {self.by_name[name] for name in (*running, *stems) if name in self.by_name}
        free = [k for k in range(self._room) if k not in taken]
        # Of those that no earlier model had first.
        free.sort(key=lambda k: k in self.by_name.values())
        chosen = []
        for name in stems:
            if name not in self.by_name and not free:
                raise Failure(
                    f"{model} has {', '.join(stems)}: there is room for {self._room} stems of "
                    f"both models in all, and {', '.join(running)} are heard"
                )
            chosen.append(self.by_name[name] if name in self.by_name else free.pop(0))
        return chosen

    def take(self, stems: tuple[str, ...], slots: list[int], primary: str) -> None:
        """These are heard from now on. New ones stand at 0 dB. Solos of stems that are gone end;
        should that end all of them, the primary stem is soloed."""
        h, x = self._block.i64, self._block.f64
        new = [k for name, k in zip(stems, slots, strict=True) if name not in self.by_name]
        kept = {name: k for name, k in self.by_name.items() if k not in new}
        self.by_name = kept | dict(zip(stems, slots, strict=True))
        for k in new:
            x[layout.GAIN + k], x[layout.MUTE + k], x[layout.SOLO + k] = 1, 0, 0
        h[layout.STEMS] = max(int(h[layout.STEMS]), max(slots) + 1)
        solos = x[layout.SOLO : layout.SOLO + layout.MAX_STEMS]
        soloed = [k for k in range(len(solos)) if solos[k]]
        if h[layout.UNTOUCHED] or (soloed and not set(soloed) & set(slots)):
            solos[self.by_name[primary]] = 1
        for k in soloed:
            if k not in slots or (h[layout.UNTOUCHED] and k != self.by_name[primary]):
                solos[k] = 0


def adopt(session, options: Options, info: dict, slots: list[int], latency: Latency) -> None:
    """Makes what is about to be heard the session's own."""
    more = latency.internal - session.latency.internal
    session.options, session.info, session.latency = options, info, latency
    session.stems = tuple(info["stems"])
    if options.factory is None:
        card = read_spec(find(options.model)).card
        session.untrained = card.get("weights") == untrained.RANDOM
    session.slots.take(session.stems, slots, info["primary"])
    describe(session.block, session.facts())
    if more:
        session.clock.extend(more)


def padded(latency: Latency, running: Latency) -> Latency:
    """`latency`, as long as the running one at least."""
    return replace(latency, padding=max(0, running.internal - latency.internal))


def check_routes(options: Options, model: str, stems: tuple[str, ...]) -> None:
    """Raises `WrongCall` where an output plays a stem that the model lacks."""
    for name in options.routes:
        if name != THE_MIX and name not in stems:
            raise WrongCall(f"an output plays {name}: {model} has {', '.join(stems)} alone")


def key(options: Options) -> str:
    """What a spare worker is kept for."""
    what = (options.factory or options.model, options.engine, options.precision, options.chunk)
    return " ".join(map(str, what))


def _named(info: dict) -> str:
    return f"{info['model']} ({info['engine']}, chunks of {info['chunk']})"
