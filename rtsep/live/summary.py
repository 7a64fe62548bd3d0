"""How a run went: what `rtsep run --json` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rtsep.live.session import Session


def summary(session: Session) -> dict:
    """So far or in all."""
    status, info, latency = session.status, session.info, session.latency
    misses = status.misses()
    errors = []
    if session.workers.error:
        errors.append(f"{session.workers.error}; the sound went on dry")
    if session.clock.ended:
        errors.append(session.clock.ended)
    errors += session.takes.errors
    return {
        "model": info["model"],
        "untrained": session.untrained,
        "engine": info["engine"],
        "precision": info["precision"],
        "engine_reason": info["engine_reason"],
        "rate": session.rate,
        "chunk": info["chunk"],
        "block": latency.block,
        "seconds": session.clock.samples / session.rate,
        "latency": latency.as_json(),
        "deadline_ms": latency.milliseconds(latency.deadline),
        "step_ms": status.steps(),
        "callback_ms": status.callbacks(),
        "rtf": status.real_time_factor(),
        "misses": {"total": sum(misses.values()), "causes": misses},
        "restarts": session.workers.restarts,
        "fallbacks": 0 if session.fallback is None else session.fallback.falls,
        "events": [{"at_s": at, "event": text} for at, text in session.workers.events],
        "clock_stalls": session.clock.stalls,
        "idle_s": status.rested(),
        "levels_db": dict(zip(session.stems, status.levels(), strict=False)),
        **status.counts(),
        "device": None if session.device is None else session.device.as_json(),
        "advice": session.advice(),
        "warnings": session.warnings,
        "granted": session.granted,
        "files": session.takes.files,
        "recording_lost": session.takes.lost,
        "errors": errors,
    }
