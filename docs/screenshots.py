"""Draw the pictures of the documentation from the real app.

    python -m docs.screenshots                      draw docs/images from the recording (or: make docs)
    python -m docs.screenshots --record DIR         first ask the real model again; DIR is a home in which the sample
                                                    procedures are trained

What the model says in a picture is what it has said: ``docs/images/recorded.json`` holds its answers, and the pictures
are drawn from those, so that they come out the same on every computer and a test can tell when the app has changed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from textual.widgets import Input, TextArea

from profiles.files.paths import AppPaths, private_folder
from profiles.registry.registry import ProfileRegistry
from profiles.settings.settings import Settings
from tests.tui.scripted_engine import FINGERPRINT
from tokmem_desk.procedures import NONE_ROUTE, Procedure
from tui.chat.prompt import Prompt
from tui.chat.screen import ChatScreen
from tui.chat.small_model import small_model_words
from tui.engine_client.client import EngineClient, engine_command, run_blocking
from tui.engine_client.link import EngineLink
from tui.procedures.samples import sample_files
from tui.shell.app import TokmemApp

IMAGES = Path(__file__).parent / "images"
RECORDING = IMAGES / "recorded.json"
MESSAGES = (
    "gotta ring the landlord tomorrow about the heating",
    "Met Lena Vogt at the fair, she lives in Graz, 555-0134",
    "What is the capital of Norway?",
)
SIZE = (110, 34)
PATIENCE_SECONDS = 60.0
UNUSED = frozenset({"pid", "fingerprint", "identity", "memory_mb", "router"})
"""Facts of the engine that no picture shows."""
TRIES = 7
"""How often each message is asked; the quickest answer is kept: what else the computer does is no part of a picture."""


async def draw(home: Path) -> dict[str, str]:
    """All pictures, by name, as SVG.

    Args:
        home: an empty folder.
    """
    # Pictures must not depend on the moment at which they are taken.
    TextArea.cursor_blink._default = False  # type: ignore[assignment]
    Input.cursor_blink._default = False  # type: ignore[assignment]
    paths = _taught(home)
    command = [sys.executable, "-m", "tests.tui.scripted_engine", "--home", str(home), "--recording", str(RECORDING)]
    root = str(Path(__file__).parents[1])

    def engine(log: Path, _: Settings) -> EngineClient:
        return EngineClient(command, log, {**os.environ, "PYTHONPATH": root})

    app = TokmemApp(paths, Settings.load(paths, environ={}), engine, "default")
    pictures = {}
    async with app.run_test(size=SIZE) as pilot:
        await _until(pilot, lambda: hasattr(app, "link") and _ready(app.link))
        small_model_words(app.store, app.link.state.backbone, NONE_ROUTE)  # said once, above the chat; not in a picture
        for message in MESSAGES:
            app.screen.query_one(Prompt).insert(message)
            await pilot.press("enter")
            await _until(pilot, lambda: isinstance(app.screen, ChatScreen) and not app.screen.busy)
        pictures["chat"] = app.export_screenshot(title="tokmem-desk")
        for keys, name in ((("up", "w"), "correct"), (("escape", "f3"), "procedures")):
            await pilot.press(*keys)
            await pilot.pause(0.5)
            await pilot.pause()
            pictures[name] = app.export_screenshot(title="tokmem-desk")
    return pictures


def record(home: Path) -> None:
    """Ask the real model and keep its answers, the backbone's facts and the scores of the memories."""
    paths = AppPaths.resolve(home)
    log = private_folder(paths.logs) / "engine.log"
    with EngineClient(engine_command(home=home, model="default"), log) as client:
        *_, loaded = run_blocking(client.submit("load", profile="default"))
        answers = []
        for text in MESSAGES:
            tries = []
            for _ in range(TRIES):
                *_, done = run_blocking(client.submit("ask", profile="default", text=text, route="auto", max_tokens=60))
                tries.append({"text": text, **done["result"]})
            answers.append(min(tries, key=lambda one: float(one["timing"]["total"])))
    backbone = {name: value for name, value in loaded["result"].items() if name not in UNUSED}
    with ProfileRegistry(paths) as registry, registry.open() as store:
        found = store.memories.all_active(loaded["result"]["fingerprint"])
        scores = {memory.procedure: {"rouge_l": memory.scorecard.get("rouge_l")} for memory in found}
    kept: dict[str, Any] = {"backbone": backbone, "answers": answers, "scorecards": scores}
    RECORDING.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _taught(home: Path) -> AppPaths:
    """A home with the sample procedures, as if they had been trained."""
    paths = AppPaths.resolve(home)
    scores = json.loads(RECORDING.read_text("utf-8"))["scorecards"]
    with ProfileRegistry(paths) as registry, registry.open() as store:
        for sample in sample_files():
            assert sample.procedure_name is not None
            procedure = Procedure(
                sample.procedure_name, sample.pairs, sample.held_out, sample.description or "", sample.pattern
            )
            record = store.procedures.add(procedure, source="sample")
            file = store.memories.new_file()
            file.write_bytes(b"for a picture")
            memory = store.memories.add(
                record.id, FINGERPRINT, file.name, procedure.pairs, {}, scores.get(procedure.name, {})
            )
            store.memories.activate(memory.id)
    private_folder(paths.state)
    (paths.state / "welcomed").touch()
    return paths


def _ready(link: EngineLink) -> bool:
    return link.state.phase == "ready"


async def _until(pilot: Any, true: Any) -> None:
    for _ in range(int(PATIENCE_SECONDS / 0.05)):
        if true():
            await pilot.pause()
            return
        await pilot.pause(0.05)
    raise TimeoutError("the app did not get there")


def main() -> None:
    """Record where that was asked for, and draw."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--record", metavar="DIR", type=Path, help="a home with the sample procedures trained")
    options = parser.parse_args()
    if options.record is not None:
        record(options.record)
    with tempfile.TemporaryDirectory() as home:
        for name, picture in asyncio.run(draw(Path(home))).items():
            (IMAGES / f"{name}.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
