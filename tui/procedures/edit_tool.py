"""What a procedure's answers look like, what it sees, and which command they may be handed to."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Checkbox, Static, TextArea

from profiles.store.commands import CommandRecord
from profiles.store.procedures import ProcedureRecord
from tokmem_desk.errors import TokmemError
from tokmem_desk.templates.command_line import check_template
from tokmem_desk.templates.json_schema import read_schema
from tui.kit.dialog import SaveDialog, buttons, paragraph
from tui.shared.command_run import refusal


@dataclass(frozen=True, slots=True)
class ToolDraft:
    """What was written; checked."""

    schema: str | None
    reads_conversation: bool
    template: tuple[str, ...] | None
    always_allowed: bool


class ToolDialog(SaveDialog[ToolDraft | None]):
    """The schema, the conversation and the command of a procedure, or None.

    Args:
        record: the procedure.
        command: its command, if it has one.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+s", "save", "Save", priority=True)]
    DEFAULT_CSS = """
    ToolDialog {
        #schema { height: 8; }
        #template { height: 5; }
    }
    """

    def __init__(self, record: ProcedureRecord, command: CommandRecord | None) -> None:
        super().__init__(f"Form and command of {record.name}")
        self._record, self._command = record, command
        template = () if command is None else command.template
        self._fixed = template if _arguments("\n".join(template)) != template else None
        """A template that a line for each argument cannot show; it stays as it is here."""

    def body(self) -> ComposeResult:
        document = None if self._record.output_schema is None else json.loads(self._record.output_schema)
        schema = "" if document is None else json.dumps(document, indent=2, ensure_ascii=False)
        yield Static("JSON schema of its answers (empty: free text)", classes="field-label")
        yield TextArea(schema, id="schema")
        yield Checkbox(Content("It sees the conversation, not the message alone"), self._record.reads_conversation)
        yield from self._command_fields()
        if self._command is not None and self._command.allowed is not None:
            yield Checkbox(Content("It runs without asking"), True, id="allowed")
        yield Static("", id="fault", classes="inline-error", markup=False)
        yield buttons(("cancel", "Esc Cancel"), ("save", "^s Save"), primary="save")

    def _command_fields(self) -> ComposeResult:
        if self._fixed is not None:
            yield Static("Local command", classes="field-label")
            yield TextArea(shlex.join(self._fixed), id="template", read_only=True)
            yield paragraph(
                "An argument is blank or has a line break, so the command stays as it is here. "
                f"To change it: tokmem-desk proc command {self._record.name} -- …"
            )
            return
        template = "" if self._command is None else "\n".join(self._command.template)
        yield Static("Local command: program, then one argument a line (empty: none)", classes="field-label")
        yield TextArea(template, id="template")
        yield paragraph("{name} stands for a value, {name?} may be missing, {name...} for each of a list.")

    def on_mount(self) -> None:
        """Say so where the command is one that does not run."""
        if self._command is not None and (reason := refusal(self._command, self._record.output_schema or "")):
            self._tell(f"The command does not run. {reason}")

    def action_save(self) -> None:
        """Hand it over, or say what is wrong and where."""
        schema_text = self.query_one("#schema", TextArea).text.strip()
        template = self._fixed or _arguments(self.query_one("#template", TextArea).text)
        schema = None
        try:
            if schema_text:
                schema = read_schema(schema_text, "The schema")
            if template and schema is None:
                self._tell("A command needs a schema: its slots stand for values of the answer.")
                return
            if template and schema is not None:
                check_template(template, schema.document)
        except TokmemError as caught:
            self._tell(f"{caught.message} {caught.next_step}")
            return
        kept = self._command is not None and template == self._command.template
        box = self.query("#allowed").results(Checkbox)
        allowed = kept and any(one.value for one in box)
        reads = self.query(Checkbox).first().value
        self.dismiss(ToolDraft(None if schema is None else schema.text, reads, template or None, allowed))

    def _tell(self, fault: str) -> None:
        place = self.query_one("#fault", Static)
        place.update(Content(fault))
        place.add_class("-shown")


def _arguments(text: str) -> tuple[str, ...]:
    """A template as it is written here: an argument a line, without empty lines."""
    return tuple(line for line in text.splitlines() if line.strip())
