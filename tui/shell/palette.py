"""The command palette: every action of every screen, whichever is in sight, and the app's own commands.

Made from the bindings of the screens, the list of screens and the list of commands; it declares nothing itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.screen import Screen

from tui.kit.base import AppScreen
from tui.shell.commands import AppCommand
from tui.shell.screens import ScreenEntry


def palette(
    app: App[Any],
    screen: Screen[Any],
    screens: Iterable[ScreenEntry],
    commands: Iterable[AppCommand],
    *,
    run: Callable[[AppCommand], Any],
    run_on: Callable[[str, str], object],
) -> Iterator[SystemCommand]:
    """Everything that can be done: here, then on other screens, then by the app itself.

    Args:
        app: switches screens.
        screen: in sight.
        screens: that can be reached now.
        commands: of the app that are possible now.
        run: runs one; what it returns is awaited if it can be.
        run_on: goes to a screen, by its mode, and does an action there.
    """
    entries = list(screens)
    if entries:
        yield from _here(app, screen)
    for entry in entries:
        yield SystemCommand(entry.title, _with_key(entry.summary, entry.key), partial(app.switch_mode, entry.mode))
    for entry in entries:
        if entry.mode != app.current_mode:
            for binding in actions_of(entry.screen):
                yield SystemCommand(
                    f"{entry.title}: {binding.description}",
                    f"On that screen, key {app.get_key_display(binding)}",
                    partial(run_on, entry.mode, binding.action),
                )
    for command in commands:
        yield SystemCommand(command.title, _with_key(command.summary, command.key), partial(_start, app, run, command))


def actions_of(screen: type[AppScreen]) -> list[Binding]:
    """What a screen and its lists can do, each action once."""
    bindings: dict[str, Binding] = {}
    for cls in (screen, *screen.LISTS):
        for base in cls.__mro__:
            if not base.__module__.startswith("tui."):
                continue
            for binding in base.__dict__.get("BINDINGS", ()):
                has_words = isinstance(binding, Binding) and bool(binding.description)
                if has_words and (cls is screen or binding.action.startswith("screen.")):
                    bindings.setdefault(binding.action.removeprefix("screen."), binding)
    return list(bindings.values())


def _here(app: App[Any], screen: Screen[Any]) -> Iterable[SystemCommand]:
    """What the keys do where the focus is."""
    for active in screen.active_bindings.values():
        binding = active.binding
        if active.enabled and binding.description and not binding.system and active.node is not app:
            yield SystemCommand(
                binding.description,
                f"Key {app.get_key_display(binding)}",
                partial(app.call_next, app.run_action, binding.action, active.node),
            )


def _start(app: App[Any], run: Callable[[AppCommand], Any], command: AppCommand) -> None:
    """Run a command of the app; one that takes a while runs in a worker."""
    result = run(command)
    if inspect.isawaitable(result):
        app.run_worker(result)


def _with_key(summary: str, key: str) -> str:
    return f"{summary} ({'+'.join(part.capitalize() for part in key.split('+'))})" if key else summary
