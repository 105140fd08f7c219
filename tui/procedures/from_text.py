"""A procedure out of a text that says what to do: a skill, a prompt, a template; from a file, or pasted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.widgets import Input, Static, TextArea

from profiles.skill_files.folder import read_skill_file
from profiles.skill_files.reading import read_skill
from profiles.skill_files.skill import Skill
from tokmem_desk.errors import TokmemError
from tokmem_desk.procedures import check_name
from tokmem_desk.system.disk import typed_path
from tui.kit.dialog import SaveDialog, buttons, fault_line, paragraph


@dataclass(frozen=True, slots=True)
class TextChoice:
    """A name that is free, the text as it was read, and where it came from."""

    name: str
    skill: Skill
    source: str


class FromTextDialog(SaveDialog[TextChoice | None]):
    """Closes with a text that can be used, or with None.

    Args:
        taken: names that cannot be chosen; a text's own name is offered where none was typed.
    """

    def __init__(self, taken: Collection[str]) -> None:
        super().__init__("A procedure from a text")
        self._taken = taken

    def body(self) -> ComposeResult:
        yield paragraph("A skill, a prompt or a template: its examples are taken, else the model suggests some.")
        yield Static("Name: a-z, 0-9, - and _", classes="field-label")
        yield Input(placeholder="that of the text", id="name", max_length=40)
        yield Static("File", classes="field-label")
        yield Input(placeholder="~/skills/notes/SKILL.md", id="file")
        yield Static("or the text itself", classes="field-label")
        yield TextArea(id="text", highlight_cursor_line=False)
        yield fault_line()
        yield buttons(("cancel", "Esc Cancel"), ("save", "^s Go on"), primary="save")

    def action_save(self) -> None:
        """Hand the text over, or say why it cannot be used."""
        file = self.query_one("#file", Input).value.strip()
        place = "#file" if file else "#text"
        try:
            if file:
                path = typed_path(file)
                skill, source = read_skill_file(path), path.name
            else:
                skill, source = read_skill(self.query_one("#text", TextArea).text), "text"
            place = "#name"
            name = check_name(self.query_one("#name", Input).value.strip() or skill.name)
        except TokmemError as caught:
            self.say_fault(f"{caught.message} {caught.next_step or ''}".strip(), place)
            return
        if name in self._taken:
            self.say_fault(f"There is a procedure {name!r} already.", "#name")
            return
        self.dismiss(TextChoice(name, skill, source))
