"""While the engine learns what procedures need of a model, plain chat goes on and the screen says so."""

from __future__ import annotations

from collections.abc import Callable

from tests.tui.driving import ask, line, ready, until
from tui.shell.app import TokmemApp

MakeApp = Callable[..., TokmemApp]


async def test_chat_goes_on_while_the_model_is_learned(make_app: MakeApp) -> None:
    async with make_app("--fit-waits").run_test(size=(120, 40)) as pilot:
        app = await ready(pilot)
        app.load_engine()
        await until(pilot, lambda: app.link.state.is_fitting)
        assert "plain chat works meanwhile" in line(app)
        turn = await ask(pilot, "hello there")
        assert turn.answer.status == "complete"
        assert app.link.state.phase == "ready"
