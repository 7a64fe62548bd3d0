"""A process of its own that calls for devices which were lost and are back.

PortAudio knows the devices that were there when it was initialised, and makes no second list before
it was shut down with all its streams. Under JACK not even that can be done once the server is gone:
`Pa_CloseStream` and `Pa_Terminate` wait for a callback that never comes and then abort the process,
and a second `jack_client_open` beside the client that was lost crashes in JACK's own library (with
a second copy of both libraries too, from the second loss on). So the devices are looked for and
opened by a process whose PortAudio is new. The run does not notice: its block and its gate are in
shared memory, its clock is the count of its frames.

`python -m rtsep.live.device_process`, on standard input (<-) and output, a line each:

    <- {"block": NAME, "gate": NAME, ...}        see `Request`
    {"found": true}                              or false, and it ends: not all devices are there
    <- open      {"open": TEXT}                  they play silence, and call
    <- enter     {"entered": true}               from now on they call the run's gate
    {"gone": TEXT}  {"over": true}               and it ends
    {"error": TEXT}                              and it ends

It ends when its input closes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass, replace

from rtsep.errors import Failure
from rtsep.live.child import on_hang_up, voice
from rtsep.live.device_stream import Plan
from rtsep.live.devices import INPUT, OUTPUT, Device, devices, name_client, quiet
from rtsep.live.gate import Gate
from rtsep.live.intake import Intake
from rtsep.live.layout import ACTIVE, FINISH, Block
from rtsep.live.streams import SILENT, Streams
from rtsep.live.wakeup import Wakeup
from rtsep.machine import WAKES_BY_OFFSET

_PATIENCE = 20.0  # s for the first calls


@dataclass(frozen=True)
class Request:
    """`plan` with the devices as they were; `delivery`: as the gate's `open` takes it. For two
    clocks: the intake's latency in samples, the longer delivery in seconds, the difference."""

    block: str
    gate: str
    plan: Plan
    delivery: int
    intake_latency: int = 0
    longest: float = 0.0
    difference: float = 0.0

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Request:
        fields = json.loads(text)
        plan = fields["plan"]
        for end in (INPUT, OUTPUT):
            if plan[end] is not None:
                plan[end] = Device(**plan[end])
        return cls(**fields | {"plan": Plan(**plan)})


def again(plan: Plan, there: list[Device]) -> Plan | None:
    """The plan with the devices of these names, as they are now; None: not all are there."""
    ends = {}
    for kind, old, channels in (
        (INPUT, plan.input, plan.inputs),
        (OUTPUT, plan.output, plan.outputs),
    ):
        if old is None:
            continue
        same = [d for d in there if (d.name, d.host_api) == (old.name, old.host_api)]
        ends[kind] = next((d for d in same if d.channels(kind) >= channels), None)
    return None if None in ends.values() else replace(plan, **ends)


def main() -> None:
    for number in (signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGINT)):
        signal.signal(number, signal.SIG_IGN)  # its parent's to handle
    say = voice()
    try:
        _converse(say)
    except Failure as failure:
        say(error=str(failure))
    except BrokenPipeError:
        pass  # the parent is gone
    # A host whose server is gone would hold it up.
    os._exit(0)


def _converse(say) -> None:
    request = Request.read(sys.stdin.readline())
    # JACK wakes a client through a semaphore named after it, and in the run's own process a thread
    # of the client that was lost still waits on that name: sharing it, each gets half the periods.
    name_client(f"rtsep-{os.getpid()}")
    try:
        with quiet():
            plan = again(request.plan, devices())
    except Failure:
        plan = None  # no device at all
    say(found=plan is not None)
    if plan is None or sys.stdin.readline() != "open\n":
        return
    stirred = threading.Event()
    gate, intake = Gate.attach(request.gate), None
    if plan.capture_rate is not None:
        intake = Intake(plan.inputs, plan.capture_rate, plan.rate, request.difference)
        intake.settle(request.intake_latency, request.longest)
    streams = Streams(plan, gate, intake, stirred.set)
    until = time.monotonic() + _PATIENCE
    while any(stream.door.calls < 3 for stream in streams.all):
        if time.monotonic() > until:
            raise Failure(f"{plan} was opened and never asks for sound")
        time.sleep(0.01)
    say(open=str(plan))
    if sys.stdin.readline() == "enter\n":
        with Block.attach(request.block) as block:
            if not WAKES_BY_OFFSET:
                Wakeup(block, int(block.i64[ACTIVE])).lead()
            streams.enter()
            gate.open(block.address, request.delivery)
            say(entered=True)
            _watch(streams, gate, block, stirred, say)
            gate.shut()
    streams.close()


def _watch(streams: Streams, gate: Gate, block: Block, stirred: threading.Event, say) -> None:
    """Until the run is over, a device is gone, or the parent is."""
    closed = threading.Event()

    def hung_up() -> None:
        closed.set()
        stirred.set()

    on_hang_up(hung_up)
    while not closed.is_set():
        stirred.wait(0.1)
        stirred.clear()
        gone = streams.gone()
        if gone and (block.i64[FINISH] or gate.samples >= gate.end):
            say(over=True)
            return
        if gone:
            for stream in gone:
                stream.leave()
            say(gone=words(gone))
            return


def words(gone) -> str:
    """What is known of streams that are gone."""
    names = " and ".join(str(stream.plan) for stream in gone)
    ended = all(stream.ended.is_set() for stream in gone)
    return f"{names} {'ended the stream' if ended else f'stopped {SILENT:g} s ago'}"


if __name__ == "__main__":
    main()
