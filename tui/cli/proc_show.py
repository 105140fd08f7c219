"""``proc list`` and ``proc show``. Needs no model, but for ``--overlap``."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from profiles.pair_files.lint import lint_pairs
from profiles.store.memories import MemoryRecord
from profiles.store.pairs import PairRecord
from profiles.store.procedures import ProcedureRecord
from tokmem_desk.templates.template import template_in
from tui.cli.console import number, table
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import Actions
from tui.cli.proc_change import refuse_no_group
from tui.cli.proc_model import overlap_option, say_overlap
from tui.cli.tools import command_ending, finding_objects
from tui.kit.vector_lines import quoted
from tui.kit.verdict import verdict_of
from tui.kit.words import shortened
from tui.shared.command_run import refusal
from tui.shared.overview import ProcedureLine, last_fingerprint, procedure_lines

SHOWN_PAIRS = 10
"""How many pairs ``show`` prints as text; ``--json`` has them all."""


def add_show_actions(actions: Actions) -> None:
    """What can be typed behind ``proc`` that shows procedures."""
    listing = actions.add("list", list_all, "all procedures of the profile")
    listing.add_argument("--group", metavar="GROUP", help="only those of this group")
    showing = actions.add("show", show, "one procedure with its pairs and memories")
    showing.add_argument("name", metavar="NAME")
    overlap_option(showing)


def list_all(context: Context, options: argparse.Namespace) -> int:
    """List the procedures of the profile."""
    lines = procedure_lines(context.store, last_fingerprint(context.store))
    if options.group is not None:
        refuse_no_group(context, options.group)
        lines = [line for line in lines if line.record.group == options.group]
    elif not lines:
        context.console.say(f"The profile {context.profile.name} has no procedures yet.")
        context.console.say("Next: tokmem-desk proc add NAME --pairs FILE, or see tokmem-desk demo")
    rows = [
        (
            line.record.name,
            line.record.pair_count,
            line.record.held_out_count,
            line.words,
            number(line.score),
            "on" if line.record.enabled else "off",
            line.record.group or "-",
            shortened(line.record.description, 60),
        )
        for line in lines
    ]
    headings = ("name", "pairs", "held out", "state", "alike", "recall", "group", "description")
    text = table(headings, rows, right=(1, 2, 4)) if rows else ""
    value = {"profile": context.profile.name, "procedures": [_line_object(line) for line in lines]}
    context.console.result(value, text)
    return ExitCode.OK


def show(context: Context, options: argparse.Namespace) -> int:
    """Show one procedure with its pairs and memories."""
    store = context.store
    record = store.procedures.get(options.name)
    pairs, held_out = store.pairs.list(record.name), store.pairs.list(record.name, "held_out")
    memories = store.memories.list(record.name)
    line = next(one for one in procedure_lines(store, last_fingerprint(store)) if one.record.name == record.name)
    value = {
        **_line_object(line),
        "train": [_pair_object(one) for one in pairs],
        "test": [_pair_object(one) for one in held_out],
        "memories": [_memory_object(memory) for memory in memories],
        "then": store.procedures.following().get(record.name),
        "findings": finding_objects(lint_pairs([one.pair for one in pairs], output_schema=record.output_schema)),
    }
    if options.overlap:
        context.engine.load()
        value["overlap"] = say_overlap(context, record.name)
    command = store.commands.get(record.name)
    refused = "" if command is None else refusal(command, record.output_schema)
    if command is not None:
        value["command"] = {"template": list(command.template), "refused": refused or None}
    shown = _shown(line, pairs, memories, context.settings.flag("keep_form"), value["then"])
    if command is not None:
        template = " ".join(quoted(element) for element in command.template)
        shown += f"\n\ncommand      {shortened(template, 90)}\n             {command_ending(command, refused)}"
    context.console.result(value, shown)
    return ExitCode.OK


def procedure_object(record: ProcedureRecord) -> dict[str, Any]:
    """A procedure as ``--json`` shows it everywhere."""
    return {
        "name": record.name,
        "description": record.description,
        "pattern": record.pattern,
        "schema": None if record.output_schema is None else json.loads(record.output_schema),
        "reads_conversation": record.reads_conversation,
        "pairs": record.pair_count,
        "held_out": record.held_out_count,
        "enabled": record.enabled,
        "group": record.group,
        "threshold": record.threshold,
        "version": record.version,
        "source": record.source,
        "created": record.created,
        "updated": record.updated,
    }


def pair_counts(record: ProcedureRecord) -> str:
    pairs = "1 pair" if record.pair_count == 1 else f"{record.pair_count} pairs"
    return f"{pairs}, {record.held_out_count} held out" if record.held_out_count else pairs


def _line_object(line: ProcedureLine) -> dict[str, Any]:
    """A procedure with its state on the backbone that was used last."""
    return {
        **procedure_object(line.record),
        "state": line.words,
        "trained": line.memory is not None,
        "changed": None if line.changed is None else asdict(line.changed),
        "rouge_l": line.score,
    }


def _pair_object(record: PairRecord) -> dict[str, Any]:
    more = {"references": list(record.references)} if record.references else {}
    return {"input": record.input, "response": record.response, **more}


def _memory_object(memory: MemoryRecord) -> dict[str, Any]:
    return {
        "memory_id": memory.id,
        "status": memory.status,
        "version": memory.version,
        "backbone_fingerprint": memory.backbone_fingerprint,
        "pairs": memory.pair_count,
        "created": memory.created,
        "settings": memory.settings,
        "scorecard": memory.scorecard,
    }


def _answer_words(line: ProcedureLine, keep_form: bool) -> str:
    """What the active memory's answers are held to."""
    if line.record.output_schema:
        return "fit the schema"
    form = None if line.memory is None else template_in(line.memory.settings)
    if form is None:
        return "-" if line.memory is None else "free"
    return form.describe() if keep_form else f"free (keep_form is off); else {form.describe()}"


def _shown(
    line: ProcedureLine, pairs: list[PairRecord], memories: list[MemoryRecord], keep_form: bool, then: str | None
) -> str:
    record = line.record
    facts = [
        f"name         {record.name}",
        f"description  {record.description or '-'}",
        f"pattern      {record.pattern or '-'}",
        f"schema       {shortened(record.output_schema or '-', 90)}",
        f"answers      {_answer_words(line, keep_form)}",
        f"reads        {'the conversation' if record.reads_conversation else 'the message alone'}",
        f"pairs        {pair_counts(record)}, from {record.source or '-'}",
        f"group        {record.group or '-'}",
        f"then         {'-' if then is None else then or '(removed)'}",
        f"state        {line.words}, recall {'on' if record.enabled else 'off'}",
        f"threshold    {'auto' if record.threshold is None else f'{record.threshold:.2f}'}",
    ]
    if line.memory is not None and "steps" in line.memory.scorecard:
        facts.append(f"measured     {verdict_of(line.memory.scorecard).sentence}")
    if memories:
        rows = [
            (f"v{one.version}", one.status, one.pair_count, number(one.scorecard.get("rouge_l")), one.created[:16])
            for one in memories
        ]
        facts += ["", table(("memory", "status", "pairs", "alike", "made"), rows, right=(2, 3))]
    if pairs:
        shown = [(shortened(one.input, 70), shortened(one.response, 70)) for one in pairs[:SHOWN_PAIRS]]
        facts += ["", table(("input", "response"), shown)]
    if len(pairs) > SHOWN_PAIRS:
        facts.append(f"and {len(pairs) - SHOWN_PAIRS} more; --json shows all")
    return "\n".join(facts)
