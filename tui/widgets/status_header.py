"""The top line of every screen: the app, its screens, and whose data, which model and what job."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.events import Resize
from textual.widgets import Static

from tui.engine_link import EngineState

SCREENS = (
    ("chat", "F2", "Chat"),
    ("procedures", "F3", "Procedures"),
    ("train", "F4", "Train"),
    ("profiles", "F5", "Profiles"),
    ("models", "F8", "Models"),
    ("settings", "F9", "Settings"),
)
TITLES_FROM = 100
"""Cells of width from which every screen's title stands in the header, and not its key alone."""


class ScreenTab(Static):
    """The name of a screen and its key; a click goes there."""

    DEFAULT_CSS = """
    ScreenTab {
        width: auto; height: 1; padding: 0 1; color: $muted; pointer: pointer;
        &:hover { background: $boost; }
        &.-current { color: $text; background: $primary 25%; text-style: bold; }
    }
    """

    def __init__(self, mode: str, key: str, title: str, current: bool) -> None:
        super().__init__(classes="-current" if current else "", id=f"tab-{mode}")
        self._mode, self._key, self._title, self._current = mode, key, title, current

    def show(self, with_title: bool) -> None:
        """Draw the key, and the title where there is room or the screen is in sight."""
        if with_title or self._current:
            self.update(Content.assemble((self._key, "$accent"), f" {self._title}"))
        else:
            self.update(Content.styled(self._key, "$accent"))

    def on_click(self) -> None:
        """Go to the screen."""
        self.app.switch_mode(self._mode)


class StatusHeader(Horizontal):
    """See the module."""

    DEFAULT_CSS = """
    StatusHeader {
        dock: top; height: 1; background: $panel;
        #app-name { width: auto; padding: 0 1; color: $primary; text-style: bold; }
        #status { width: 1fr; text-align: right; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    }
    """

    def __init__(self, mode: str) -> None:
        super().__init__()
        self._mode = mode

    def compose(self) -> ComposeResult:
        yield Static("tokmem-desk", id="app-name")
        for mode, key, title in SCREENS:
            yield ScreenTab(mode, key, title, mode == self._mode)
        yield Static(id="status")

    def on_resize(self, event: Resize) -> None:
        """Titles where there is room."""
        for tab in self.query(ScreenTab):
            tab.show(event.size.width >= TITLES_FROM)

    def show(self, profile: str, engine: EngineState, training: str, model: str) -> None:
        """Draw the state at the right; what matters most stands first, because the end is cut.

        Args:
            profile: its name.
            engine: what it does.
            training: the queue in a few words, or nothing.
            model: as the settings name it.
        """
        parts = [Content.styled(profile, "bold")]
        if training:
            parts.append(Content.styled(training, "$accent"))
        if engine.phase == "failed":
            parts.append(Content.styled("engine stopped", "$text-error"))
        elif engine.phase == "loading":
            share = "" if engine.fraction is None else f" {engine.fraction:.0%}"
            parts.append(Content.styled(f"loading{share}", "$accent"))
        backbone = engine.backbone
        parts.append(Content(short_model(backbone["id"] if backbone else model)))
        if backbone:
            parts.append(Content(f"{backbone['device']} {backbone['dtype']}"))
        self.query_one("#status", Static).update(Content.styled(" · ", "$muted").join(parts))


def short_model(model: str) -> str:
    """The last part of a Hub id or a path."""
    return model.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1] or model
