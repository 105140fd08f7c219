"""The top line of every screen: the app, its screens, and whose data, which model and what job."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.events import Resize
from textual.widgets import Static

from tui.engine_client.link import EngineState
from tui.kit.services import ListedScreen

LEAST_STATE = 10
"""Cells for the state at the right that the titles of all screens must leave; else only their keys stand there."""

ROOMY_FROM = 110
"""Cells of width from which the tabs are padded at both sides."""

NAME_FROM = 130
"""Cells of width from which the app's name stands there, as ``app.tcss`` has it."""

_KINDS = ("-instruct", "-it", "-chat")
"""Endings of model names that are left out first where there is little room."""

_SHORTEST_NAME = 12


class ScreenTab(Static):
    """The name of a screen and its key; a click goes there."""

    DEFAULT_CSS = """
    ScreenTab {
        width: auto; height: 1; padding: 0 0 0 1; color: $muted; pointer: pointer;
        &.-padded { padding: 0 1; }
        &:hover { background: $boost; }
        &.-current { color: $text; background: $primary 25%; text-style: bold; }
    }
    """

    def __init__(self, mode: str, key: str, title: str, current: bool) -> None:
        super().__init__(classes="-current" if current else "", id=f"tab-{mode}")
        self._mode, self._key, self._title, self._current = mode, key, title, current

    def show(self, with_title: bool, padded: bool) -> None:
        """Draw the key, and the title where there is room or the screen is in sight."""
        self.set_class(padded, "-padded")
        if with_title or self._current:
            self.update(Content.assemble((self._key, "$accent"), f" {self._title}"))
        else:
            self.update(Content.styled(self._key, "$accent"))

    def cells(self, with_title: bool, padded: bool) -> int:
        """Its width in cells, with the padding."""
        return 1 + padded + len(self._key) + (len(self._title) + 1 if with_title or self._current else 0)

    def on_click(self) -> None:
        """Go to the screen."""
        self.app.switch_mode(self._mode)


class StatusHeader(Horizontal):
    """See the module.

    Args:
        mode: of the screen that it stands on.
        screens: all screens; those with a key have a tab.
    """

    DEFAULT_CSS = """
    StatusHeader {
        dock: top; height: 1; background: $panel;
        #app-name { width: auto; padding: 0 1; color: $primary; text-style: bold; }
        #status { width: 1fr; text-align: right; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    }
    """

    def __init__(self, mode: str, screens: Sequence[ListedScreen]) -> None:
        super().__init__()
        self._mode, self._screens = mode, screens
        self._states: list[list[tuple[str, str]]] = []
        """The parts of the state with their styles: in full first, then in ever fewer words."""

    def compose(self) -> ComposeResult:
        yield Static("tokmem-desk", id="app-name")
        for screen in self._screens:
            if screen.key:
                yield ScreenTab(screen.mode, screen.key.upper(), screen.title, screen.mode == self._mode)
        yield Static(id="status")

    def on_resize(self, event: Resize) -> None:
        """Titles where there is room, and as much of the state as fits."""
        self._draw(event.size.width)

    def show(self, profile: str, engine: EngineState, training: str, model: str) -> None:
        """Draw the state at the right.

        Args:
            profile: its name.
            engine: what it does.
            training: the queue in a few words, or nothing.
            model: as the settings name it.
        """
        now = []
        if training:
            now.append((training, "$accent"))
        if engine.phase == "failed":
            now.append(("engine stopped", "$text-error"))
        elif engine.phase == "loading":
            share = "" if engine.fraction is None else f" {engine.fraction:.0%}"
            now.append((f"loading{share}", "$accent"))
        elif engine.is_fitting:
            share = "" if engine.fraction is None else f" {engine.fraction:.0%}"
            now.append((f"learning{share}", "$accent"))
        backbone = engine.backbone
        name = short_model(backbone["id"] if backbone else model)
        device = (backbone["device"], backbone["dtype"]) if backbone else ("", "")
        self._states = [
            [(profile, "bold"), *now, *((words, "") for words in facts if words)]
            for facts in shortenings(name, *device)
        ]
        for level in (1, 2):
            shorter = [(shortened(words)[level], style) for words, style in now]
            self._states.append([(profile, "bold"), *shorter])
        self._draw(self.size.width)

    def _draw(self, width: int) -> None:
        """Draw for a width; 0 before there is one."""
        if not self._states:
            return
        used = len("tokmem-desk") + 2 if width >= NAME_FROM else 0
        padded = width >= ROOMY_FROM
        tabs = {titles: sum(tab.cells(titles, padded) for tab in self.query(ScreenTab)) for titles in (True, False)}
        whole = width - used - 2
        titles = whole - tabs[True] >= LEAST_STATE
        for tab in self.query(ScreenTab):
            tab.show(titles, padded)
        room = whole - tabs[titles]
        last = self._states[-1]
        parts = next((state for state in self._states if _cells(state) <= room), None)
        if parts is None:  # the name of the profile gives way to what goes on
            rest = room - _cells(last[1:]) - 3
            parts = [(f"{set_cell_size(last[0][0], rest - 1)}…", "bold"), *last[1:]] if rest > 1 else last[1:]
        shown = [Content.styled(words, style) if style else Content(words) for words, style in parts]
        self.query_one("#status", Static).update(Content.styled(" · ", "$muted").join(shown))


def _cells(parts: Sequence[tuple[str, str]]) -> int:
    return sum(cell_len(words) for words, _ in parts) + 3 * (len(parts) - 1)


def shortenings(model: str, device: str, dtype: str) -> list[tuple[str, str]]:
    """Model and device in ever shorter forms: whole words are left out before a name is cut."""
    stem = next((model[: -len(end)] for end in _KINDS if model.lower().endswith(end)), model)
    cut = stem if len(stem) <= _SHORTEST_NAME else f"{stem[: _SHORTEST_NAME - 1]}…"
    return [(model, f"{device} {dtype}".strip()), (model, device), (stem, device), (cut, device), (cut, ""), ("", "")]


def shortened(words: str) -> tuple[str, str, str]:
    """What goes on in ever fewer words: ``training 1 of 2 40%, 3 s left``, ``training 1 of 2 40%``, ``40%``."""
    first = words.partition(",")[0]
    begin, _, end = first.rpartition(" ")
    return words, first, begin if end == "training" and begin else end


def short_model(model: str) -> str:
    """The last part of a Hub id or a path."""
    return model.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1] or model
