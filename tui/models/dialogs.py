"""A dialog that asks for a model that is in no list."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Input, Static

from tokmem_desk.errors import TokmemError
from tokmem_desk.models.store import ModelStore
from tui.kit.dialog import SaveDialog, buttons, paragraph


class ModelNameDialog(SaveDialog[str | None]):
    """A Hub id, a folder or a GGUF file that is there, or None.

    Args:
        store: knows whether a text can be a model.
    """

    def __init__(self, store: ModelStore) -> None:
        super().__init__("Another model")
        self._store = store

    def body(self) -> ComposeResult:
        yield Static("A Hub id, a folder with config.json, or a .gguf file", classes="field-label")
        yield Input(placeholder="Qwen/Qwen3-0.6B, or /models/mine.gguf", id="model")
        yield Static("", id="fault", classes="inline-error", markup=False)
        yield paragraph(
            "A Hub model is fetched; a folder or a file is read where it lies. Either is converted to 4 bit once.",
            classes="muted",
        )
        yield buttons(("cancel", "Esc Cancel"), ("ok", "Fetch or convert"), primary="ok")

    def on_input_changed(self, event: Input.Changed) -> None:
        """Hide the fault as soon as the text differs."""
        self.query_one("#fault").remove_class("-shown")

    def action_save(self) -> None:
        """Close with the text, or show what is wrong with it."""
        wanted = self.query_one(Input).value.strip()
        try:
            if not wanted:
                fault = "Nothing is named."
            else:
                self._store.resolve(wanted)
                self.dismiss(wanted)
                return
        except TokmemError as caught:
            fault = f"{caught.message} {caught.next_step}".strip()
        place = self.query_one("#fault", Static)
        place.update(Content(fault))
        place.add_class("-shown")
        self.query_one(Input).focus()
