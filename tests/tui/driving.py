"""Driving the app: wait for something to be true instead of for time to pass."""

from __future__ import annotations

from collections.abc import Callable

from textual.pilot import Pilot
from textual.widgets import Static

from tui.chat.prompt import Prompt
from tui.chat.screen import ChatScreen
from tui.chat.turn_view import TurnView
from tui.chat.turns import Turn
from tui.procedures.screen import ProceduresScreen
from tui.shell.app import TokmemApp
from tui.training.screen import TrainScreen

PATIENCE_SECONDS = 20.0
LONG_PATIENCE_SECONDS = 500.0
"""For what the real engine does with the real model."""
SIZES = [(80, 24), (120, 40)]


async def until(
    pilot: Pilot[None], true: Callable[[], object], what: str = "", patience: float = PATIENCE_SECONDS
) -> None:
    """Wait until ``true()`` is.

    Raises:
        AssertionError: it did not become true within so many seconds.
    """
    for _ in range(int(patience / 0.02)):
        if true():
            await pilot.pause()
            return
        await pilot.pause(0.02)
    raise AssertionError(f"never happened: {what or true}")


async def ready(pilot: Pilot[None]) -> TokmemApp:
    """Wait for the engine and return the app."""
    app = pilot.app
    assert isinstance(app, TokmemApp)
    await until(pilot, lambda: hasattr(app, "link") and app.link.state.phase == "ready", "engine ready")
    return app


def chat(app: TokmemApp) -> ChatScreen:
    """The chat, which must be in sight."""
    assert isinstance(app.screen, ChatScreen)
    return app.screen


def procedures(app: TokmemApp) -> ProceduresScreen:
    """The procedures, which must be in sight."""
    assert isinstance(app.screen, ProceduresScreen)
    return app.screen


def train(app: TokmemApp) -> TrainScreen:
    """The training screen, which must be in sight."""
    assert isinstance(app.screen, TrainScreen)
    return app.screen


async def ask(pilot: Pilot[None], text: str, patience: float = PATIENCE_SECONDS) -> Turn:
    """Send a message and wait for the end of its answer."""
    app = pilot.app
    assert isinstance(app, TokmemApp)
    screen = chat(app)
    screen.query_one(Prompt).focus()
    screen.query_one(Prompt).take(text)
    await pilot.press("enter")
    await until(pilot, lambda: not screen.busy, f"answer to {text!r}", patience)
    return screen.session.turns[-1]


def last_view(app: TokmemApp) -> TurnView:
    """The newest turn on the screen."""
    return chat(app).query(TurnView).last()


def line(app: TokmemApp) -> str:
    """The line below the prompt."""
    return str(chat(app).query_one("#chat-line", Static).render())


def turn_texts(app: TokmemApp) -> str:
    """All text of the drawn turns."""
    return "\n".join(view.text for view in app.screen.query(TurnView))


def texts(app: TokmemApp, selector: str = "Static") -> str:
    """All text of the screen in sight that matches, turns of a chat included where nothing is picked out."""
    found = [str(widget.render()) for widget in app.screen.query(selector).results(Static) if widget.display]
    return "\n".join([*found, turn_texts(app)] if selector == "Static" else found)
