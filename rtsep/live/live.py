"""`rtsep.Live`: a run in the background of a script or a notebook."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rtsep.errors import Failure, WrongCall
from rtsep.live.controls import Controls
from rtsep.live.ends import Ends
from rtsep.live.latency import Latency
from rtsep.live.opening import open_session
from rtsep.live.options import Options
from rtsep.live.scene import factor
from rtsep.live.summary import summary
from rtsep.live.wiring import parse_channels, parse_routes

_log = logging.getLogger("rtsep")


class Live:
    """Sound is separated as it comes while the program goes on; what is heard can be changed.

        with rtsep.Live("convtasnet", input="demo", output="none") as live:
            live.gains["background"] = 0.1
            live.wait(5)
            print(live.meters, live.stats["misses"])

    `input`, `output`, `virtual_mic`, `host_api`, `channels` ("1-2"), `routes` ({"voice": "1-2"}),
    `rate` and all that follows are what `rtsep run` has as options; gains are factors, `ceiling`
    (the limiter's, None: off) and `input_gain` too. `model` is a name or a checkpoint's path.
    `progress` is told what takes long while an engine is built for the first time.

    Making it builds the engine, in a process of its own, and fixes the latency; entering the `with`
    statement, or `start`, begins; leaving it, or `stop`, ends and completes all files. It needs no
    `if __name__ == "__main__"`, loads no torch, handles no signals, and prints nothing: what
    happens meanwhile goes to the logger "rtsep", and to `notices`.

    Attributes: `stems`, `primary`, `rate` (Hz), `channels`; `latency`, in samples, part by part;
    `controls` (see `Controls`), and of these `gains`, `mutes`, `solos`, `wet`, `bypass` and
    `input_gain` here too. Raises what opening devices and files and building raise.
    """

    def __init__(
        self,
        model: str | Path = "convtasnet",
        input: str | Path | None = None,
        output: str | Path | None = None,
        *,
        virtual_mic: str | None = None,
        host_api: str | None = None,
        channels: str | None = None,
        routes: Mapping[str, str] | None = None,
        exclusive: bool = False,
        clocks: str = "auto",
        rate: int | None = None,
        block: int | None = None,
        queue: int | None = None,
        chunk: int | None = None,
        engine: str = "auto",
        precision: str | None = None,
        clock: str = "paced",
        gains: Mapping[str, float] | None = None,
        solo: Sequence[str] = (),
        mute: Sequence[str] = (),
        on_miss: str = "dry",
        on_device_loss: str = "go-on",
        ceiling: float | None = 1.0,
        input_gain: float = 1.0,
        full_band: bool = True,
        idle: float = 0.0,
        fallback: str | Path | None = None,
        fallback_share: float = 0.05,
        fallback_quiet: float = 30.0,
        duration: float | None = None,
        record: str | Path | None = None,
        overwrite: bool = False,
        progress: Callable[[str], None] = lambda text: None,
        factory: str | None = None,
    ):
        if clock not in ("paced", "free"):
            raise WrongCall(f"clock {clock!r}: paced or free")
        taken = None if channels is None else parse_channels(channels)
        ends = Ends(
            input,
            output,
            rate,
            duration,
            overwrite,
            host_api,
            taken,
            exclusive,
            clocks,
            virtual_mic=virtual_mic,
        )
        options = Options(
            model=str(model),
            engine=engine,
            chunk=chunk,
            precision=precision,
            blocks=block,
            queue=queue,
            paced=clock == "paced",
            gains={stem: factor(gain) for stem, gain in (gains or {}).items()},
            solo=_names(solo),
            mute=_names(mute),
            routes=parse_routes([f"{stem}={place}" for stem, place in (routes or {}).items()]),
            on_miss=on_miss,
            on_device_loss=on_device_loss,
            ceiling=ceiling,
            input_gain=factor(input_gain),
            full_band=full_band,
            idle=idle,
            record=record,
            overwrite=overwrite,
            factory=factory,
            fallback=None if fallback is None else str(fallback),
            fallback_share=fallback_share,
            fallback_quiet=fallback_quiet,
        )
        options.check()
        self.notices: list[str] = []
        self._session = session = open_session(ends, options, progress, self._notice)
        self.rate, self.channels = session.rate, session.channels
        self._stems, self._primary, self._latency = _model(session)
        self.controls: Controls = session.controls
        self.gains, self.mutes = self.controls.gains, self.controls.mutes
        self.solos = self.controls.solos
        self._over, self._leave = threading.Event(), threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="rtsep", daemon=True)
        self._last: dict | None = None
        self._lock = threading.Lock()
        atexit.register(self.close)

    @property
    def stems(self) -> tuple[str, ...]:
        return self._now()[0]

    @property
    def primary(self) -> str:
        return self._now()[1]

    @property
    def latency(self) -> Latency:
        return self._now()[2]

    @property
    def running(self) -> bool:
        """Whether sound is going through: it has begun, and neither ended nor was it stopped."""
        return self._watcher.ident is not None and not self._over.is_set()

    @property
    def meters(self) -> dict[str, float]:
        """Levels of late in dBFS: "input" and "output" (peaks), and each stem (RMS, before gains);
        -120 is silence."""
        with self._lock:
            if self._session is None:
                return dict.fromkeys(("input", "output", *self.stems), -120.0)
            status = self._session.status
            levels = dict(zip(self.stems, status.levels(), strict=False))
            return dict(zip(("input", "output"), status.peaks(), strict=True)) | levels

    @property
    def stats(self) -> dict:
        """Counts and times so far, as `rtsep run --json` prints them; at the end, of all of it."""
        with self._lock:
            return self._last if self._session is None else summary(self._session)

    @property
    def wet(self) -> float:
        """1: the mix as the gains make it; 0: the mixture as it was; in between, both."""
        return self.controls.wet

    @wet.setter
    def wet(self, value: float) -> None:
        self.controls.wet = value

    @property
    def bypass(self) -> bool:
        """The mixture as it was, at the same latency."""
        return self.controls.bypass

    @bypass.setter
    def bypass(self, on: bool) -> None:
        self.controls.bypass = on

    @property
    def input_gain(self) -> float:
        """A factor on what comes in, before everything else."""
        return self.controls.input_gain

    @input_gain.setter
    def input_gain(self, value: float) -> None:
        self.controls.input_gain = value

    def record(self, folder: str | Path | None = None) -> Path:
        """Records every stem and the mixture from now on, before gains; to which folder.

        Left out, it is one that is not there yet: take-1, take-2 …, or after `record="DIR"` DIR-2 …
        The files sum to `mix.wav` at every sample. Raises `Failure` where a recording goes on.
        """
        with self._lock:
            return self._there().takes.begin(folder)

    def stop_recording(self) -> Path | None:
        """Ends the recording, and completes its files; where they are (None: there was none)."""
        with self._lock:
            return self._there().takes.end()

    def start(self) -> None:
        """Sound begins. Raises `Failure` where that is not possible any more."""
        if self._session is None or self._watcher.ident is not None:
            raise Failure("this run is over: make another rtsep.Live")
        for warning in self._session.warnings:
            self._notice(warning)
        self._session.start()
        self._watcher.start()

    def swap(
        self,
        model: str | Path | None = None,
        *,
        engine: str | None = None,
        chunk: int | None = None,
        wait: bool = True,
        factory: str | None = None,
    ) -> None:
        """Changes to another model, engine or chunk while the sound goes on: without a click, on
        one time line, with gains, mutes and solos by the stems' names. Where the new latency is
        longer than the running one, that becomes longer, and the sound is dry for a moment.

        Returns once it is heard, or at once where it is not to `wait`; then `notices` tell. Raises
        `WrongCall` for what is no model, and for routes to stems that it lacks; `Failure` where it
        can't be built or is too slow here, while another change is under way, and where other stems
        are being recorded. Then all goes on as it was.
        """
        session = self._session
        if session is None or not self.running:
            raise Failure("there is no run in which a model could be changed")
        done = session.swap(
            None if model is None else str(model), engine=engine, chunk=chunk, factory=factory
        )
        if wait:
            done.result()

    def wait(self, seconds: float | None = None) -> bool:
        """Whether the run is over (its input ended), after waiting for at most so long."""
        # In short waits: Ctrl-C gets through them on every system.
        until = None if seconds is None else time.monotonic() + seconds
        while until is None or time.monotonic() < until:
            left = 0.2 if until is None else min(0.2, max(0.0, until - time.monotonic()))
            if self._over.wait(left):
                return True
        return self._over.is_set()

    def stop(self) -> dict:
        """Ends the run and completes all files; the last `stats`. May be called again.

        Raises what made the run fail.
        """
        if self._session is None:
            return self._last
        if self._watcher.ident is None:
            self.close()
            return self._last
        self._end_watch()
        try:
            self._last = self._session.finish()
        finally:
            self.close()
        return self._last

    def close(self) -> None:
        """Ends everything at once; an output file that is not complete is dropped."""
        atexit.unregister(self.close)
        if self._session is None:
            return
        self._end_watch()
        with self._lock:
            session, self._session = self._session, None
            if self._last is None:
                self._last = summary(session)
        session.close()

    def __enter__(self) -> Live:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind, *_) -> None:
        try:
            self.stop()
        except Failure:
            if kind is None:
                raise  # else what went wrong first is told

    def _there(self):
        if self._session is None:
            raise Failure("this run is over: make another rtsep.Live")
        return self._session

    def _watch(self) -> None:
        from rtsep.live.notices import Notices

        notices, over = Notices(self._session), False
        while not over and not self._leave.is_set():
            over = self._session.join(0.1)
            for text in notices.new():
                self._notice(text)
        self._over.set()

    def _now(self) -> tuple[tuple[str, ...], str, Latency]:
        """Of the model that is heard, or was last."""
        session = self._session
        if session is not None:
            self._stems, self._primary, self._latency = _model(session)
        return self._stems, self._primary, self._latency

    def _end_watch(self) -> None:
        self._leave.set()
        if self._watcher.ident is not None:
            self._watcher.join()
        self._over.set()

    def _notice(self, text: str) -> None:
        self.notices.append(text)
        _log.warning(text)


def _model(session) -> tuple[tuple[str, ...], str, Latency]:
    return session.stems, session.info["primary"], session.latency


def _names(stems: str | Sequence[str]) -> tuple[str, ...]:
    return (stems,) if isinstance(stems, str) else tuple(stems)
