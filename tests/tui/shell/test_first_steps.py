"""First steps with the real engine on the default model: what is shown there is what the chat then answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList

from tests.tui.driving import LONG_PATIENCE_SECONDS, ask, chat, texts, until
from tokmem_desk.samples import SAMPLE_NAMES, sample_procedures
from tui.chat.prompt import Prompt
from tui.chat.screen import ChatScreen
from tui.engine_client.protocol import Scorecard
from tui.shell.app import TokmemApp
from tui.shell.welcome import WelcomeScreen
from tui.shell.welcome_view import first_try

pytestmark = [pytest.mark.real_model, pytest.mark.slow, pytest.mark.asyncio, pytest.mark.timeout(1800)]

SAMPLES = {sample.name: sample for sample in sample_procedures()}


async def first_steps(pilot: Pilot[None]) -> WelcomeScreen:
    """The screen, at the step that asks for a sample."""
    app = pilot.app
    await until(
        pilot,
        lambda: isinstance(app.screen, WelcomeScreen) and app.screen.step == "sample",
        "samples",
        LONG_PATIENCE_SECONDS,
    )
    assert isinstance(app.screen, WelcomeScreen)
    return app.screen


async def learn(pilot: Pilot[None], name: str) -> Scorecard:
    """Choose a sample with the keys, wait for its result and look at what is shown of it."""
    screen = await first_steps(pilot)
    samples = screen.query_one(OptionList)
    place = next(at for at, option in enumerate(samples.options) if option.id == name)
    assert samples.has_focus and samples.highlighted is not None
    await pilot.press(*["up" if place < samples.highlighted else "down"] * abs(place - samples.highlighted))
    await pilot.press("enter")
    await until(pilot, lambda: screen.step == "result", f"{name} learned", LONG_PATIENCE_SECONDS)
    job = screen.tokmem.trainings.of(name)
    assert job is not None and job.trained is not None
    return job.trained["scorecard"]


async def test_the_chat_answers_what_first_steps_show(make_real_app: Callable[[], TokmemApp]) -> None:
    async with make_real_app().run_test(size=(120, 40)) as pilot:
        app = pilot.app
        assert isinstance(app, TokmemApp)
        for name in SAMPLE_NAMES:
            sample = SAMPLES[name]
            card = await learn(pilot, name)
            shown = first_try(card)
            assert shown is not None and shown["got"] in texts(app, "#about")
            assert shown["got"] == shown["expected"], "the first try is right"
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.screen, ChatScreen) and bool(chat(app).query_one(Prompt).text))
            assert chat(app).query_one(Prompt).text == shown["input"]
            for pair, measured in zip(sample.held_out, card["samples"], strict=False):
                turn = await ask(pilot, pair.input, LONG_PATIENCE_SECONDS)
                assert turn.answer.route == name, pair.input
                assert (measured["input"], measured["got"]) == (pair.input, turn.answer.text), "one path for both"
            await app.run_action("switch_mode('welcome')")
