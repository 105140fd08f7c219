"""The help dialog: what the screen is for, and the keys that work where the focus is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widgets import Button, Static

from tui.kit.dialog import Dialog, buttons, paragraph


def keys_in_force(screen: Screen[Any], of_app: Iterable[Binding]) -> list[tuple[str, str]]:
    """The keys that this project binds for where the focus is, and what each does; keys of Textual's own are left out.

    Keys of one action stand together, as in ``up k``.

    Args:
        screen: in sight.
        of_app: bindings of the app beside those of its class.
    """
    actions_of_app = {binding.action for binding in of_app}
    keys: dict[tuple[int, str], tuple[list[str], str]] = {}
    for active in screen.active_bindings.values():
        binding = active.binding
        own = _own_actions(type(active.node)) | (actions_of_app if active.node is screen.app else set())
        if active.enabled and binding.description and binding.action in own:
            names, _ = keys.setdefault((id(active.node), binding.action), ([], binding.description))
            names.append(screen.app.get_key_display(binding))
    return [(" ".join(dict.fromkeys(names)), description) for names, description in keys.values()]


def _own_actions(node: type[DOMNode]) -> set[str]:
    """The actions that this project's classes bind, without those inherited from Textual."""
    own: set[str] = set()
    for base in node.__mro__:
        if base.__module__.startswith("tui."):
            own |= {binding.action for binding in base.__dict__.get("BINDINGS", ()) if isinstance(binding, Binding)}
    return own


class HelpDialog(Dialog[None]):
    """See the module.

    Args:
        title: what the help is about.
        text: a few sentences.
        keys: each key and what it does.
    """

    def __init__(self, title: str, text: str, keys: Sequence[tuple[str, str]]) -> None:
        super().__init__(title)
        self._text, self._keys = text, keys

    def body(self) -> ComposeResult:
        yield paragraph(self._text)
        width = max((len(key) for key, _ in self._keys), default=0)
        lines = [
            Content.assemble(Content.styled(f"{key:>{width}}", "bold $accent"), f"  {description}")
            for key, description in self._keys
        ]
        with VerticalScroll():
            yield Static(Content("\n").join(lines), id="keys")
        yield buttons(("close", "Close"), primary="close")

    def on_mount(self) -> None:
        """Focus the list of keys, so that arrow keys scroll it."""
        self.query_one(VerticalScroll).focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Close."""
        self.dismiss(None)
