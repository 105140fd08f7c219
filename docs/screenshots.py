"""Draw the pictures of the README from the real app with the real model.

    python docs/screenshots.py --home DIR

DIR is a home whose default profile has the sample procedures trained and active (``proc add``, ``train``).
Writes SVG files to docs/images.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from profiles.paths import AppPaths
from profiles.settings import Settings
from tui.app import TokmemApp
from tui.engine.client import EngineClient, engine_command
from tui.screens.chat import ChatScreen
from tui.widgets.prompt import Prompt

IMAGES = Path(__file__).parent / "images"
MESSAGES = (
    "gotta ring the landlord tomorrow about the heating",
    "Met Lena Vogt at the fair, she lives in Graz, 555-0134",
    "What is the capital of Norway?",
)
SIZE = (110, 34)


async def _draw(home: Path) -> None:
    paths = AppPaths.resolve(home)
    command = engine_command(home=home, model="default")
    app = TokmemApp(paths, Settings.load(paths), lambda log, _: EngineClient(command, log), "default")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(1)
        await pilot.press("ctrl+n")
        for message in MESSAGES:
            await pilot.pause(1)
            app.screen.query_one(Prompt).insert(message)
            await pilot.press("enter")
            await pilot.pause(1)
            while isinstance(app.screen, ChatScreen) and app.screen.busy:
                await pilot.pause(0.5)
        (IMAGES / "chat.svg").write_text(app.export_screenshot(title="tokmem-desk"), encoding="utf-8")
        for key, name in (("f3", "procedures"),):
            await pilot.press(key)
            await pilot.pause(1)
            (IMAGES / f"{name}.svg").write_text(app.export_screenshot(title="tokmem-desk"), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, required=True)
    IMAGES.mkdir(exist_ok=True)
    asyncio.run(_draw(parser.parse_args().home))


if __name__ == "__main__":
    main()
