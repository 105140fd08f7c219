"""Tests of when the app has settled."""

from __future__ import annotations

from collections.abc import Callable

from textual.message import Message
from textual.screen import ModalScreen

from tests.tui.driving import ready, until
from tests.tui.settling import has_settled
from tui.shell.app import TokmemApp


class Noted(Message):
    """A message that nobody handles."""


async def test_screen_under_a_dialog_counts(make_app: Callable[..., TokmemApp]) -> None:
    """It shines through and is drawn anew, for instance when the terminal changes its size."""
    app = make_app()
    async with app.run_test() as pilot:
        await ready(pilot)
        below = app.screen
        app.push_screen(ModalScreen[None]())
        await until(pilot, lambda: has_settled(app))

        below.children[0].post_message(Noted())

        assert not has_settled(app)
        await until(pilot, lambda: has_settled(app))
