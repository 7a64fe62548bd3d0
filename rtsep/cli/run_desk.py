"""`rtsep run --desk` while the desk has the terminal: until it is closed, or the run ends."""

from __future__ import annotations

from collections.abc import Callable

from rtsep.cli.run_watch import Ending
from rtsep.desk.process import DeskProcess, hello
from rtsep.live.ends import Ends


def at_desk(
    session,
    ends: Ends,
    clock: str,
    ending: Ending,
    show: bool,
    more: Callable[[], list[str]] = list,
) -> list[str]:
    """What happened meanwhile, `more` of which others tell. `show`: if the run goes on without the
    desk, why is told."""
    from rtsep.live.notices import Notices

    notices, told = Notices(session), []
    ending.gently()
    over = False
    with DeskProcess(session, hello(session, ends, clock)) as desk:
        while not over and ending.asked is None and desk.there():
            over = session.join(0.2)
            for text in notices.new() + more():
                desk.tell(text)
                told.append(text)
            if desk.asks_for_the_end:
                ending.asked = ending.asked or "the desk"
    if show and not over and ending.asked is None:
        print(desk.last_words, flush=True)
    return told
