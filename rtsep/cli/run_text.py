"""What `rtsep run` prints: before, meanwhile and at the end."""

from __future__ import annotations


def heading(session, clock: str) -> str:
    from rtsep.audio.levels import describe

    info = session.info
    heard = []
    controls = session.controls
    for name, gain in controls.heard.items():
        if gain and controls.solos[name]:
            heard.append(f"{name} {describe(gain)} solo")
        else:
            heard.append(f"{name} {describe(gain)}")
    o = session.options
    primary = " (nothing asked for: the primary stem)" if controls.untouched else ""
    routes = [
        f"{name} on {','.join(str(k + 1) for k in channels)}" for name, channels in o.routes.items()
    ]
    if routes:
        primary = f"; outputs: {', '.join(routes)}"
    device = session.device
    if device is not None:
        clock = f"{clock} clock of {device.plan}"
        if session.latency.delivery > session.latency.block:
            clock += f", which hands over {session.latency.delivery} at once"
    else:
        clock = f"{clock} simulated clock"
    return (
        f"{info['model']} on {info['engine']} in {info['precision']} ({info['engine_reason']}), "
        f"chunks of {info['chunk']} samples at {info['model_rate']} Hz; {session.rate} Hz, "
        f"{session.channels} channels, blocks of {session.latency.block}, {clock}\n"
        f"heard: {', '.join(heard)}{primary}"
    )


def table(latency) -> str:
    lines = ["latency         samples        ms"]
    for name, value in latency.parts().items():
        if name == "internal":
            lines.append("-" * len(lines[0]))
        number = f"{int(value)}" if value == int(value) else f"{float(value):.2f}"
        ms = f"{latency.milliseconds(value):.2f}"
        if name.startswith("device") and not latency.told:
            number = ms = "not told"
        lines.append(f"{name.replace('_', ' '):12s} {number:>10s} {ms:>9s}")
    deadline = f"{latency.deadline} samples, {latency.milliseconds(latency.deadline):.2f} ms"
    return "\n".join([*lines, f"the worker's deadline: {deadline}"])


def line(session) -> str:
    """The status line."""
    status = session.status
    steps = status.steps()
    deadline = session.latency.milliseconds(session.latency.deadline)
    weights = "random weights  " if session.untrained else ""
    rest = "resting  " if status.resting() else ""
    bypass = "BYPASS  " if session.controls.bypass else ""
    levels = zip(session.stems, status.levels(), strict=False)
    levels = "  ".join(f"{name} {level:.0f} dB" for name, level in levels)
    misses = sum(status.misses().values())
    return (
        f"{session.clock.samples / session.rate:7.1f} s  {bypass}{weights}step p50 "
        f"{steps['p50']:.2f} p99 {steps['p99']:.2f} of {deadline:.2f} ms  misses {misses}  "
        f"{rest}{levels}"
    )


def end(summary: dict) -> str:
    steps, misses = summary["step_ms"], summary["misses"]
    causes = ", ".join(f"{cause} {n}" for cause, n in misses["causes"].items())
    lines = [
        f"{summary['seconds']:.2f} s of sound, real-time factor {summary['rtf']:.3f}"
        + (f", ended by {summary['ended_by']}" if summary["interrupted"] else ""),
        f"steps: p50 {steps['p50']:.3f}, p99 {steps['p99']:.3f}, p99.9 {steps['p999']:.3f}, "
        f"max {steps['max']:.3f} ms",
        f"misses: {misses['total']}" + (f" ({causes})" if causes else ""),
    ]
    if summary["restarts"]:
        times = "time" if summary["restarts"] == 1 else "times"
        lines.append(f"the worker was restarted: {summary['restarts']} {times}")
    if summary["fallbacks"]:
        times = "once" if summary["fallbacks"] == 1 else f"{summary['fallbacks']} times"
        lines.append(f"the fallback was needed {times}")
    if summary["clock_stalls"]:
        held_up = "the file was late" if summary["device"] else "the simulated clock was held up"
        lines.append(f"{held_up} {summary['clock_stalls']} times")
    device = summary["device"]
    if device and (two := device["two_clocks"]):
        lines.append(
            f"the input's clock: {two['difference_ppm']:+.0f} ppm; it was late {two['starved']} "
            f"times and jumped {two['jumps']} times"
        )
    if device and device["losses"]:
        lines.append(
            f"without its device {device['losses']} times, {device['away_s']:.1f} s in all"
        )
    if summary["clipped_input"]:
        lines.append(f"the input clipped: {summary['clipped_input']} samples at full scale")
    if summary["clipped_output"]:
        lines.append(f"the output clipped: {summary['clipped_output']} samples beyond full scale")
    if summary["limited"]:
        lines.append("the output was limited, where it was too loud")
    if summary["idle_s"]:
        lines.append(f"rested for {summary['idle_s']:.1f} s of silence")
    if summary["recording_lost"]:
        lines.append(
            f"the recording lost {summary['recording_lost']} samples, which are silent in all files"
        )
    lines += summary["advice"]
    if summary["bad_input"]:
        lines.append(f"{summary['bad_input']} samples at the input were no numbers: silenced")
    if summary["resets"]:
        lines.append(f"the network's output was no number {summary['resets']} times: reset")
    return "\n".join(lines + [f"wrote {file}" for file in summary["files"]])
