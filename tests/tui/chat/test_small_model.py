"""Plain chat of a small model says once what the model is for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from profiles.store.store import ProfileStore
from tests.tui.driving import ask, ready
from tests.tui.scripted_engine import BACKBONE
from tokmem_desk.procedures import NONE_ROUTE
from tui.chat.small_model import small_model_words
from tui.engine_client.protocol import BackboneInfo
from tui.shell.app import TokmemApp

MakeApp = Callable[..., TokmemApp]


def model(id: str, parameters: int) -> BackboneInfo:
    return cast(BackboneInfo, {**BACKBONE, "id": id, "parameters": parameters})


def test_it_is_told_once_of_each_model(tmp_path: Path) -> None:
    small = model("smollm2-135m-instruct", 135_000_000)
    with ProfileStore(tmp_path / "profile") as store:
        assert small_model_words(store, small, "todo_line") == "" == small_model_words(store, None, NONE_ROUTE)
        assert small_model_words(store, model("large", 2_000_000_000), NONE_ROUTE) == ""
        said = small_model_words(store, small, NONE_ROUTE)
        assert "SmolLM2 135M Instruct is a small model" in said and "procedures" in said and "F8" in said
        assert small_model_words(store, small, NONE_ROUTE) == ""
        assert small_model_words(store, model("another", 10_000), NONE_ROUTE).startswith("another is a small model")
    with ProfileStore(tmp_path / "profile") as again:
        assert small_model_words(again, small, NONE_ROUTE) == "", "also after a restart"


@pytest.mark.asyncio
async def test_the_app_tells_it_behind_the_first_plain_answer(
    make_app: MakeApp, taught: None, notices: list[str]
) -> None:
    async with make_app("--small").run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await ask(pilot, "I need to buy milk")
        assert not any("is a small model" in notice for notice in notices)
        for message in ("good evening", "good night"):
            await ask(pilot, message)
        assert len([notice for notice in notices if "is a small model" in notice]) == 1
