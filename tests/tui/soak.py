"""Do everything that the palette offers, many times, in a random order that a seed fixes; then count what is there.

    python -m tests.tui.soak [--times 20] [--seed 0]

No exception, no fault of the app, nothing that was there before is lost, and every database is in order. Dialogs are
answered at random, except those that would destroy something: they are declined.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from textual.pilot import Pilot
from textual.screen import ModalScreen
from textual.widgets import Button, Input, OptionList, TextArea

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from profiles.settings.settings import Settings
from profiles.store.store import ProfileStore
from tests.tui.conftest import MOOD, ROOT, TODO, remember
from tests.tui.scripted_engine import make_model
from tests.warm import start_of
from tokmem_desk.models.store import ModelStore
from tui.chat.prompt import Prompt
from tui.chat.screen import ChatScreen
from tui.engine_client.client import EngineClient
from tui.kit.base import AppScreen
from tui.profiles.dialogs import EraseDialog
from tui.profiles.locked import LockedScreen
from tui.shell.app import TokmemApp
from tui.shell.palette import actions_of
from tui.shell.screens import SCREENS

SIZES = ((80, 24), (120, 40), (160, 50))
MESSAGES = ("I need to buy milk", "Lovely day because my sister came", "What is [/INST] anyway?", "@none hello", "")
PASSPHRASE = "many words in a row, and one more"
"""The only one of the words that a profile may be locked with."""
WORDS = ("anna", "Tea | 3.20", "0.5", "[/INST] {x}", "", PASSPHRASE)
OUTSIDE = {"chat.editor"}
"""Opens another program in the terminal, which a test has none of."""


class Lost(AssertionError):
    """Something is not as it should be; the text says what was done before."""


def home_to_soak(home: Path) -> None:
    """Two profiles with procedures, memories and a chat each, and a model; nothing of it can be undone."""
    paths = AppPaths.resolve(home)
    paths.state.mkdir(parents=True)
    (paths.state / "welcomed").touch()
    make_model(ModelStore(paths.models), "default")
    with ProfileRegistry(paths) as registry:
        registry.create("anna")
        stores = [registry.open(name) for name in ("anna", "default")]
    for store in stores:
        with store:
            for procedure in (TODO, MOOD):
                store.procedures.add(procedure, source="soak")
                remember(store, procedure.name)
            conversation = store.chats.create("kept")
            store.messages.add(conversation, "user", "a message that must stay")
            with store._database.writing() as connection:
                connection.execute("DELETE FROM undo_log")


def make_app(home: Path) -> TokmemApp:
    """The app over that home, with the scripted engine."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def engine(log: Path, settings: Settings) -> EngineClient:
        command = [*start_of("tests.tui.scripted_engine"), "--home", str(home)]
        return EngineClient([*command, "--model", settings.text("model"), "--steps", "4"], log, environment)

    paths = AppPaths.resolve(home)
    return TokmemApp(paths, Settings.load(paths, environ={}), engine)


class Soak:
    """One run.

    Args:
        pilot: of the running app.
        seed: fixes the order and the answers.
    """

    def __init__(self, pilot: Pilot[None], seed: int) -> None:
        assert isinstance(pilot.app, TokmemApp)
        self.pilot, self.app = pilot, pilot.app
        self.random = random.Random(seed)
        self.done: list[str] = []
        self.counts: dict[str, int] = {}

    def everything(self) -> list[str]:
        """Every action of the palette, as ``mode.action`` or the title of a command of the app."""
        found = [
            f"{entry.mode}:{binding.action}"
            for entry in SCREENS
            for binding in actions_of(entry.screen)
            if binding.id not in OUTSIDE
        ]
        titles = {command.title for command in self.app.get_system_commands(self.app.screen)}
        here = {binding.description for binding in actions_of(self._screen_class)}
        elsewhere = {title for title in titles if ": " in title}
        return [*found, *sorted(titles - elsewhere - here - {"Quit"} - self._of_the_focus)]

    @property
    def _screen_class(self) -> type[AppScreen]:
        """Of the screen in sight."""
        return next(entry.screen for entry in SCREENS if entry.mode == self.app.current_mode)

    @property
    def _of_the_focus(self) -> set[str]:
        """Commands that only the widget with the focus has."""
        return {active.binding.description for active in self.app.screen.active_bindings.values()}

    async def run(self, times: int) -> None:
        """Do everything ``times`` times.

        Raises:
            Lost: see the class.
        """
        await self._until_ready()
        plan = self.everything() * times
        self.random.shuffle(plan)
        for place, what in enumerate(plan):
            self.done.append(what)
            self.counts[what] = self.counts.get(what, 0) + 1
            await self._do(what)
            if place % 7 == 0:
                await self._say_something()
            if place % 41 == 0:
                await self.pilot.resize_terminal(*self.random.choice(SIZES))
            self._check_faults()
            await self._open_again()
        await self._come_to_rest()
        self._check_faults()

    async def _do(self, what: str) -> None:
        mode, _, action = what.partition(":")
        if action:
            self.app.run_on(mode, action)
        else:
            commands = {one.title: one for one in self.app.get_system_commands(self.app.screen)}
            if what in commands:  # some depend on what is in sight
                commands[what].callback()
        await self._settle()
        await self._leave_dialogs()

    async def _settle(self) -> None:
        for _ in range(3):
            await self.pilot.pause(0.01)

    async def _leave_dialogs(self) -> None:
        for trial in range(12):
            screen = self.app.screen
            if not isinstance(screen, ModalScreen):
                return
            destroys = isinstance(screen, EraseDialog) or any(
                button.variant == "error" for button in screen.query(Button)
            )
            if trial >= 3 or destroys or self.random.random() < 0.4:
                await self.pilot.press("escape")
            else:
                await self._fill(screen)
            await self._settle()
        raise Lost(f"A dialog cannot be left: {self.app.screen}, after {self.done[-5:]}")

    async def _open_again(self) -> None:
        """Wait for a profile that is being rewritten, and open one that was locked."""
        for _ in range(2000):
            if not self.app.locked:
                return
            if isinstance(self.app.screen, LockedScreen):
                field = self.app.screen.query_one("#passphrase", Input)
                if not field.value:
                    field.value = PASSPHRASE
                    await self.pilot.press("enter")
            await self.pilot.pause(0.02)
        raise Lost(f"A profile does not open again, after {self.done[-5:]}")

    async def _fill(self, screen: ModalScreen[object]) -> None:
        for field in screen.query(Input):
            field.value = self.random.choice(WORDS)
        for area in screen.query(TextArea):
            area.text = self.random.choice(WORDS)
        options = screen.query(OptionList)
        if options and options.first().option_count:
            options.first().focus()
            await self.pilot.press("down")
        await self.pilot.press(self.random.choice(("enter", "ctrl+s")))

    async def _say_something(self) -> None:
        await self._open_again()
        self.app.switch_mode("chat")
        await self._settle()
        if isinstance(self.app.screen, ChatScreen):
            prompt = self.app.screen.query_one(Prompt)
            prompt.focus()
            prompt.take(self.random.choice(MESSAGES))
            await self.pilot.press("enter")
            await self._settle()
        await self._leave_dialogs()

    def _check_faults(self) -> None:
        faults = [error for error in self.app.errors.recent if "Traceback" in error]
        if faults:
            raise Lost(f"The app made a mistake after {self.done[-5:]}:\n{faults[-1]}")

    async def _until_ready(self) -> None:
        for _ in range(2000):
            if self.app.link.state.phase == "ready":
                return
            await self.pilot.pause(0.02)
        raise Lost("The engine was never ready.")

    async def _come_to_rest(self) -> None:
        """Wait for answers and trainings, so that nothing is cut off by the end."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            pulling = self.app.downloads.current is not None and self.app.downloads.current.running
            if not self.app.link.busy and not pulling and not self.app.trainings.running:
                break
            await self.pilot.pause(0.05)
        await self._leave_dialogs()


def open_all(paths: AppPaths) -> dict[str, ProfileStore]:
    """All profiles by name, those too that were given a passphrase on the way."""
    with ProfileRegistry(paths) as registry:
        return {
            info.name: registry.open(info.name, key=registry.locks.key(info.name, PASSPHRASE) if info.locked else None)
            for info in registry.list()
        }


def check_home(home: Path) -> dict[str, dict[str, int]]:
    """Check every database and count rows; what was there at the beginning must still be.

    Raises:
        Lost: it is not.
    """
    paths = AppPaths.resolve(home)
    counted: dict[str, dict[str, int]] = {}
    stores = open_all(paths)
    for name, store in stores.items():
        with store:
            damage = store.damage()
            if damage:
                raise Lost(f"The database of {name} is damaged: {damage}")
            counted[name] = {
                table: int(store.rows(f"SELECT count(*) FROM {table}")[0][0])
                for table in ("procedures", "pairs", "memories", "conversations", "messages", "jobs")
            }
    whole = [name for name, store in stores.items() if counted[name]["procedures"] >= 2]
    if len(whole) < 2:
        raise Lost(f"A profile was lost: {counted}")
    return counted


def check_kept(store: ProfileStore) -> None:
    """What ``home_to_soak`` put there is still there, under whatever name.

    Raises:
        Lost: it is not.
    """
    inputs = {row[0] for row in store.rows("SELECT input FROM pairs")}
    missing = [pair.input for procedure in (TODO, MOOD) for pair in procedure.pairs if pair.input not in inputs]
    if missing:
        raise Lost(f"Pairs were lost: {missing}")
    if not store.rows("SELECT 1 FROM messages WHERE content = 'a message that must stay'"):
        raise Lost("A message was lost.")


async def soak(home: Path, times: int, seed: int) -> dict[str, dict[str, int]]:
    """Prepare a home, run, and check; returns the row counts of each profile.

    Raises:
        Lost: see the module.
    """
    home_to_soak(home)
    app = make_app(home)
    # Pictures of the screen go where the program was started.
    with contextlib.chdir(home.parent):
        async with app.run_test(size=SIZES[1]) as pilot:
            run = Soak(pilot, seed)
            await run.run(times)
            fewest = min(run.counts.values())
            assert fewest >= times, run.counts
    counted = check_home(home)
    for store in open_all(AppPaths.resolve(home)).values():
        with store:
            if store.rows("SELECT 1 FROM conversations WHERE title = 'kept'"):
                check_kept(store)
    return counted


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print what was done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        counted = asyncio.run(soak(Path(folder) / "home", options.times, options.seed))
    print(f"Everything {options.times} times in {time.monotonic() - began:.0f} s; rows: {counted}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
