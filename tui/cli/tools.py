"""``proc schema``, ``proc reads``, ``proc command``: a procedure's schema, what it reads, its command."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from profiles.files.atomic import storage_error
from profiles.pair_files.lint import Finding, lint_pairs
from tokmem_desk.errors import BadInputError, NotFoundError, UsageError
from tokmem_desk.templates.json_schema import OutputSchema, read_schema
from tokmem_desk.templates.learned_schema import field_words, learned_schema
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import PROGRAM, Actions
from tui.kit.vector_lines import quoted
from tui.kit.visible_text import visible_line
from tui.shared.command_run import refusal

if TYPE_CHECKING:
    from profiles.store.commands import CommandRecord
    from tui.cli.context import Context


def add_tool_actions(actions: Actions) -> None:
    """What can be typed behind ``proc`` about calls and their commands."""
    holding = actions.add("schema", schema, "show or set the JSON schema of its answers")
    holding.add_argument("name", metavar="NAME")
    holding.add_argument("file", metavar="FILE", nargs="?", type=Path, help="the schema; without it the present one")
    holding.add_argument("--none", action="store_true", help="answers are free text again")
    holding.add_argument("--from-pairs", action="store_true", help="the fields and types that all its pairs have")
    reading = actions.add("reads", reads, "let it see the conversation, or the message alone")
    reading.add_argument("name", metavar="NAME")
    reading.add_argument("what", choices=("conversation", "message"))
    running = actions.add(
        "command",
        command,
        "show or set the local program that its answers may be handed to",
        usage=f"{PROGRAM} proc command NAME [-- PROGRAM ARGUMENT ...]",
        epilog="After '--' comes the command: a program and its arguments, each with slots like {text}. A slot stands "
        "for the value of that property of the schema; {text?} leaves the argument out when there is none, {tags...} "
        "alone becomes an argument for each item. Without a schema there is one slot: {answer}, the whole answer. No "
        "shell is involved. A value that begins with '-' is refused unless '--' stands before its slot. You are asked "
        "before each run.",
    )
    running.add_argument("name", metavar="NAME")
    running.add_argument("--none", action="store_true", help="take the command away")
    running.add_argument("--ask", action="store_true", help="take back 'always allow': ask before each run again")
    running.set_defaults(template=None)


def schema(context: Context, options: argparse.Namespace) -> int:
    """Show, set or remove the schema of a procedure's answers."""
    store = context.store
    record = store.procedures.get(options.name)
    if sum((options.file is not None, options.none, options.from_pairs)) > 1:
        raise UsageError("Give a file, --none or --from-pairs, only one of them.")
    if options.file is not None:
        record = store.procedures.set_schema(record.name, load_schema(options.file).text)
        context.console.say(f"Answers of {record.name} are held to the schema from now on.")
    elif options.from_pairs:
        learned = learned_schema([one.pair for one in store.pairs.list(record.name)])
        if learned is None:
            raise BadInputError(
                f"The responses of {record.name} are not objects of one shape.",
                next_step=f"Write a schema: tokmem-desk proc schema {record.name} FILE",
            )
        record = store.procedures.set_schema(record.name, learned.text)
        fields = field_words(learned.document)
        context.console.say(f"Answers of {record.name} have these fields from now on: {fields}.")
    elif options.none:
        record = store.procedures.set_schema(record.name, None)
        context.console.say(f"Answers of {record.name} are free text from now on.")
    pairs = [one.pair for one in store.pairs.list(record.name)]
    findings = [one for one in lint_pairs(pairs, output_schema=record.output_schema) if one.kind == "schema"]
    say_findings(context, findings)
    document = None if record.output_schema is None else json.loads(record.output_schema)
    text = "" if document is None or options.file is not None else json.dumps(document, indent=2, ensure_ascii=False)
    if document is None and not options.none and (learned := learned_schema(pairs)) is not None:
        context.console.say(fields_note(record.name, learned))
    elif document is None and not options.none:
        context.console.say(f"{record.name} has no schema. To set one: tokmem-desk proc schema {record.name} FILE")
    context.console.result({"name": record.name, "schema": document, "findings": finding_objects(findings)}, text)
    return ExitCode.OK


def reads(context: Context, options: argparse.Namespace) -> int:
    """Let a procedure see the conversation, or the message alone."""
    record = context.store.procedures.set_reads_conversation(options.name, options.what == "conversation")
    what = "what was said before, too" if record.reads_conversation else "the message alone"
    context.console.say(f"{record.name} sees {what}.")
    memories = context.store.memories.list(record.name) if record.reads_conversation else []
    readers = [one.settings.get("reader") for one in memories if one.status == "active"]
    if any(reader and reader.get("alone", True) for reader in readers):
        context.console.say(
            "Its memory learned to read values off the message and nothing else. For it to take values from the "
            f"conversation, train it again: tokmem-desk train {record.name}"
        )
    context.console.result({"name": record.name, "reads_conversation": record.reads_conversation}, "")
    return ExitCode.OK


def command(context: Context, options: argparse.Namespace) -> int:
    """Show, set or remove a procedure's command, or take back a consent."""
    store = context.store
    name = store.procedures.get(options.name).name
    if sum((options.template is not None, options.none, options.ask)) > 1:
        raise UsageError("Give a command, --none or --ask, only one of them.")
    if options.none:
        gone = store.commands.remove(name)
        context.console.say(f"{name} has no command any more." if gone else f"{name} has no command.")
    elif options.ask:
        store.commands.allow(name, None)
        context.console.say(f"Each run of the command of {name} is asked about again.")
    elif options.template is not None:
        store.commands.set(name, options.template)
        context.console.say(f"Answers of {name} may be handed to this command; you are asked before each run.")
    found = store.commands.get(name)
    if found is None and not options.none:
        context.console.say(f"{name} has no command. To set one: tokmem-desk proc command {name} -- PROGRAM {{slot}} …")
    refused = "" if found is None else refusal(found, store.procedures.get(name).output_schema)
    context.console.result(_command_object(name, found, refused), _command_text(found, refused))
    return ExitCode.OK


def load_schema(path: Path) -> OutputSchema:
    """The schema in a file.

    Raises:
        NotFoundError: there is no such file.
        BadInputError: it cannot be used; the text says where.
        StorageError: it cannot be read.
    """
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise NotFoundError(f"There is no file {path}.", next_step="Check the path.") from None
    except UnicodeDecodeError:
        raise BadInputError(f"{path} is not UTF-8 text.", next_step="Save it as UTF-8 and try again.") from None
    except OSError as caught:
        raise storage_error(f"{path} could not be read", caught) from caught
    return read_schema(text, str(path))


def fields_note(name: str, learned: OutputSchema) -> str:
    """What can be done with pairs whose responses are objects of one shape."""
    return (
        f"All responses have the fields {field_words(learned.document)}. To hold answers to them: "
        f"tokmem-desk proc schema {name} --from-pairs"
    )


def say_findings(context: Context, findings: list[Finding]) -> None:
    """Print the findings of lint."""
    for finding in findings:
        context.console.say(f"  note: {finding.text}")


def finding_objects(findings: list[Finding]) -> list[dict[str, Any]]:
    """Findings as ``--json`` shows them."""
    return [{"kind": one.kind, "pairs": list(one.pairs), "text": one.text} for one in findings]


def command_ending(found: CommandRecord, refused: str) -> str:
    """What comes of a command when an answer is to be handed to it."""
    if refused:
        return f"does not run: {refused}"
    return "runs unasked" if found.allowed is not None else "asks before each run"


def _command_object(name: str, found: CommandRecord | None, refused: str) -> dict[str, Any]:
    if found is None:
        return {"name": name, "command": None, "always_allowed": False}
    value = {"name": name, "command": list(found.template), "always_allowed": found.allowed is not None}
    return {**value, "refused": refused} if refused else value


def _shown_element(element: str) -> str:
    """An element as it was typed, where it is plain from end to end; else quoted, with symbols for what is unseen."""
    plain = re.fullmatch(r"[^\s'\"\\\\]+", element) is not None and visible_line(element) == element
    return element if plain else quoted(element)


def _command_text(found: CommandRecord | None, refused: str) -> str:
    if found is None:
        return ""
    lines = [f"{place:2}  {_shown_element(element)}" for place, element in enumerate(found.template)]
    lines.append(command_ending(found, refused))
    return "\n".join([*lines, *([found.withheld] if found.withheld else [])])
