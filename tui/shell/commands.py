"""The command palette: every action of every screen, whichever is in sight. Runs nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.screen import Screen

from tui.kit.base import AppScreen
from tui.kit.services import AppServices

MODE_WORDS = {
    "chat": ("Chat", "Talk (F2)"),
    "procedures": ("Procedures", "Teach by example pairs (F3)"),
    "train": ("Train", "Train what is new or changed (F4)"),
    "profiles": ("Profiles", "Who works here; switch, add, lock, erase (F5)"),
    "models": ("Models", "Which model, what fits, fetch and unload (F8)"),
    "settings": ("Settings", "Every value, its default and where it comes from (F9)"),
    "welcome": ("First steps", "A model, a first procedure"),
}


def commands(
    app: App[Any],
    services: AppServices,
    screen: Screen[Any],
    *,
    run_on: Callable[[str, str], object],
    show_help: Callable[[], object],
    show_report: Callable[[], object],
) -> Iterator[SystemCommand]:
    """Everything that can be done: here first, then elsewhere, then with the app itself.

    Args:
        app: does it.
        services: the same app, as the rooms see it.
        screen: in sight.
        run_on: goes to a screen, by its mode, and does an action there.
        show_help: shows the keys for where the focus is.
        show_report: shows the debug report.
    """
    if services.locked:
        yield SystemCommand("Quit", "Ctrl+Q", lambda: app.run_worker(app.action_quit()))
        return
    yield from _here(app, screen)
    for mode, (title, words) in MODE_WORDS.items():
        yield SystemCommand(title, words, lambda mode=mode: app.switch_mode(mode))
    yield SystemCommand("Load the model", "Start the engine now", services.load_engine)
    for mode, (title, _) in MODE_WORDS.items():
        if mode != app.current_mode:
            for binding in actions_of(app.MODES[mode]):
                yield SystemCommand(
                    f"{title}: {binding.description}",
                    f"On that screen, key {app.get_key_display(binding)}",
                    lambda mode=mode, action=binding.action: run_on(mode, action),
                )
    yield SystemCommand("Change the theme", "Colours", app.action_change_theme)
    yield SystemCommand("Help", "Keys for where the focus is (F1)", show_help)
    yield SystemCommand("Debug report", "Versions, paths, last errors (F12)", show_report)
    yield SystemCommand("Quit", "Ctrl+Q", lambda: app.run_worker(app.action_quit()))


def actions_of(screen: type[AppScreen]) -> list[Binding]:
    """What a screen and its lists can do, each action once."""
    found: dict[str, Binding] = {}
    for cls in (screen, *screen.LISTS):
        for base in cls.__mro__:
            if not base.__module__.startswith("tui."):
                continue
            for binding in base.__dict__.get("BINDINGS", ()):
                wanted = isinstance(binding, Binding) and bool(binding.description)
                if wanted and (cls is screen or binding.action.startswith("screen.")):
                    found.setdefault(binding.action.removeprefix("screen."), binding)
    return list(found.values())


def _here(app: App[Any], screen: Screen[Any]) -> Iterable[SystemCommand]:
    """What the keys do where the focus is."""
    for active in screen.active_bindings.values():
        binding = active.binding
        if active.enabled and binding.description and not binding.system and active.node is not app:
            yield SystemCommand(
                binding.description,
                f"Key {app.get_key_display(binding)}",
                lambda node=active.node, action=binding.action: app.call_next(app.run_action, action, node),
            )
