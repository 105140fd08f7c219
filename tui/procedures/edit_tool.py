"""What a procedure's answers look like, what it sees, and which command they may be handed to."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Button, Static, TextArea

from profiles.store.commands import CommandRecord
from profiles.store.procedures import ProcedureRecord
from tokmem_desk.errors import TokmemError
from tokmem_desk.templates.command_line import check_template
from tokmem_desk.templates.json_schema import OutputSchema, read_schema
from tui.kit.dialog import SaveDialog, buttons, fault_line, paragraph
from tui.kit.ticks import Tick
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
        learned: the fields that all its pairs have; None where they have none in common.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+s", "save", "Save", priority=True)]

    def __init__(
        self, record: ProcedureRecord, command: CommandRecord | None, learned: OutputSchema | None = None
    ) -> None:
        super().__init__(f"Form and command of {record.name}")
        self._learned = learned if record.output_schema is None else None
        self._record, self._command = record, command
        template = () if command is None else command.template
        self._fixed = template if _arguments("\n".join(template)) != template else None
        """A template that a line for each argument cannot show; it stays as it is here."""

    def body(self) -> ComposeResult:
        document = None if self._record.output_schema is None else json.loads(self._record.output_schema)
        schema = "" if document is None else json.dumps(document, indent=2, ensure_ascii=False)
        with VerticalScroll():
            yield Static("JSON schema of its answers (empty: free text)", classes="field-label")
            yield TextArea(schema, id="schema")
            sees = "It sees the conversation, not the message alone"
            yield Tick(Content(sees), self._record.reads_conversation, compact=True)
            yield from self._command_fields()
            if self._command is not None and self._command.allowed is not None:
                yield Tick(Content("It runs without asking"), True, id="allowed", compact=True)
        yield fault_line()
        learned = [("fields", "Take the fields of its pairs")] if self._learned is not None else []
        yield buttons(("cancel", "Esc Cancel"), *learned, ("save", "^s Save"), primary="save")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Write the fields of the pairs as a schema; what the other buttons do is the base class's."""
        if event.button.id == "fields" and self._learned is not None:
            event.prevent_default()
            text = json.dumps(self._learned.document, indent=2, ensure_ascii=False)
            self.query_one("#schema", TextArea).load_text(text)

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
        yield paragraph(
            "{name} stands for a value, {name?} may be missing, {name...} for each of a list. Without a schema, "
            "{answer} is the whole answer."
        )

    def on_mount(self) -> None:
        """Say so where the command is one that does not run."""
        if self._command is not None and (reason := refusal(self._command, self._record.output_schema)):
            self.say_fault(f"The command does not run. {reason}")

    def action_save(self) -> None:
        """Hand it over, or say what is wrong and where."""
        schema_text = self.query_one("#schema", TextArea).text.strip()
        template = self._fixed or _arguments(self.query_one("#template", TextArea).text)
        schema = None
        try:
            if schema_text:
                schema = read_schema(schema_text, "The schema")
            if template:
                check_template(template, None if schema is None else schema.document)
        except TokmemError as caught:
            self.say_fault(f"{caught.message} {caught.next_step}")
            return
        kept = self._command is not None and template == self._command.template
        box = self.query("#allowed").results(Tick)
        allowed = kept and any(one.value for one in box)
        reads = self.query(Tick).first().value
        self.dismiss(ToolDraft(None if schema is None else schema.text, reads, template or None, allowed))


def _arguments(text: str) -> tuple[str, ...]:
    """A template as it is written here: an argument a line, without empty lines."""
    return tuple(line for line in text.splitlines() if line.strip())
