"""The line of keys is drawn again when other keys are to be shown, and only then."""

from __future__ import annotations

import pytest
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.widgets import Input, OptionList
from textual.widgets._footer import FooterKey

from tui.kit.key_footer import KeyFooter


class Lists(OptionList):
    BINDINGS = [Binding("d", "app.take('list')", "Delete")]


class Host(App[None]):
    BINDINGS = [Binding("f2", "app.take('screen')", "Go"), Binding("f3", "maybe", "Maybe")]
    allowed: bool | None = True

    def compose(self) -> ComposeResult:
        yield Input(id="one")
        yield Input(id="two")
        yield Lists("a", "b")
        yield KeyFooter()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self.allowed if action == "maybe" else True


def keys(app: Host) -> list[tuple[str, bool]]:
    return [(str(key.render()), key.has_class("-disabled")) for key in app.query(FooterKey)]


async def test_keys_follow_the_focus_and_what_is_possible() -> None:
    app = Host()
    async with app.run_test() as pilot:
        await pilot.pause()
        app.query_one("#one").focus()
        await pilot.pause()
        assert keys(app) == [("f2 Go", False), ("f3 Maybe", False)]
        app.query_one(Lists).focus()
        await pilot.pause()
        assert keys(app) == [("d Delete", False), ("f2 Go", False), ("f3 Maybe", False)]
        app.allowed = None
        app.refresh_bindings()
        await pilot.pause()
        assert keys(app)[-1] == ("f3 Maybe", True)
        app.allowed = False
        app.refresh_bindings()
        await pilot.pause()
        assert keys(app) == [("d Delete", False), ("f2 Go", False)]


async def test_the_same_keys_stay_as_they_are() -> None:
    app = Host()
    async with app.run_test() as pilot:
        await pilot.pause()
        app.query_one("#one").focus()
        await pilot.pause()
        before = list(app.query(FooterKey))
        assert before and all(key.has_class("-compact") for key in before)
        app.query_one("#two").focus()
        app.refresh_bindings()
        await pilot.pause()
        assert list(app.query(FooterKey)) == before


async def test_keys_are_styled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    updates: list[object] = []
    update = FooterKey.update_node_styles
    monkeypatch.setattr(
        FooterKey, "update_node_styles", lambda key, animate=True: (updates.append(key), update(key, animate))
    )
    async with Host().run_test() as pilot:
        await pilot.pause()
        assert pilot.app.query(FooterKey) and updates == []


class Asking(Host):
    """What is possible depends on a widget, as on most screens."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action != "maybe" or self.query_one(Lists).highlighted is not None


async def test_a_screen_that_is_going_is_not_drawn_again() -> None:
    app = Asking()
    async with app.run_test() as pilot:
        await pilot.pause()
        await app.query_one(Lists).remove()
        await app.query_one(KeyFooter).recompose()
        assert keys(app), "as it was"
