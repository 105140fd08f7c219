"""When the app has settled: what ``pilot.press`` and ``pilot.pause`` wait for, instead of Textual's ``wait_for_idle``.

Textual looks at the processor alone, for a fiftieth of a second at a time, and twice for a key. Most of what a test of
the app took was that. Here no message waits or is being handled, everything that is to be drawn is drawn, and then the
process must be idle for a moment, for the threads that have not spoken yet. Where a message takes longer, because its
handler waits for something outside, the processor decides as it does for Textual.
"""

from __future__ import annotations

import asyncio
import time

from textual._context import active_app
from textual.app import App
from textual.screen import Screen

from tui.shell.app import TokmemApp

MOMENT = 0.004
"""Seconds for which the process must be idle."""

IDLE_MOMENTS = 10
"""After so many of them in a row, whoever has not settled waits for something outside."""

BUSY_SHARE = 0.1
"""Of a moment: a process that works for longer is not idle."""


async def settle(min_sleep: float = 0.0, max_sleep: float = 1.0) -> None:
    """Wait until the app has settled; takes the place of ``wait_for_idle``.

    Args:
        min_sleep: wait so many seconds at least.
        max_sleep: wait so many seconds at most.
    """
    app = active_app.get(None)
    begin = time.monotonic()
    idle = 0
    while time.monotonic() < begin + max_sleep:
        for screen in visible_screens(app):
            if screen._update_timer._active.is_set():
                screen._on_timer_update()  # what the screen's clock would do up to a sixtieth of a second later
        used = time.process_time()
        await asyncio.sleep(MOMENT)
        idle = idle + 1 if time.process_time() - used < MOMENT * BUSY_SHARE else 0
        if idle and time.monotonic() > begin + min_sleep and (idle == IDLE_MOMENTS or app is None or has_settled(app)):
            return


def visible_screens(app: App[object] | None) -> list[Screen[object]]:
    """The screens that are drawn, from below: those under a dialog shine through and are laid out on their own."""
    if app is None or not app._running or not app.screen_stack:
        return []
    return [*app._background_screens, app.screen]


def has_settled(app: App[object]) -> bool:
    """Whether nothing waits to be handled, drawn or called, and nothing is being handled."""
    screens = visible_screens(app)
    # What is to be called after the next drawing may wait below a dialog until the dialog is gone.
    if any(screen._update_timer._active.is_set() for screen in screens) or (screens and screens[-1]._callbacks):
        return False
    if isinstance(app, TokmemApp) and (app.key_gate._kept or app.key_gate._target is not None):
        return False
    nodes = (node for screen in screens for node in screen.walk_children(with_self=True))
    for node in (app, *nodes) if screens else ():
        if node._closing or node._closed:
            continue
        queue = node._message_queue
        # Who waits for a message handles none.
        if not queue.empty() or node._next_callbacks or not queue.ready_event._waiters:
            return False
    return True
