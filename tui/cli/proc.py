"""``proc``: define, list, show, change and remove procedures. Needs no model."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from profiles.pair_files.lint import lint_pairs
from profiles.pair_files.pairs_file import PairsFile, load_pairs, read_pairs_file
from profiles.pair_files.row_forms import FORM_WORDS, ColumnMapping
from profiles.pair_files.writers import TEMPLATE, pairs_text, write_template
from profiles.store.memories import MemoryRecord
from profiles.store.pair_rules import text_fault
from profiles.store.pairs import PairRecord
from profiles.store.procedures import ProcedureRecord
from tokmem_desk.errors import BadInputError, ConflictError, NotFoundError, UsageError, did_you_mean
from tokmem_desk.procedures import Procedure, check_name
from tokmem_desk.templates.template import template_in
from tui.cli.console import number, shortened, table
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import Actions, Parser, pairs_option
from tui.cli.tools import command_ending, finding_objects, load_schema, say_findings
from tui.engine_client.protocol import Overlap
from tui.kit.vector_lines import quoted
from tui.kit.verdict import verdict_of
from tui.procedures.overlap_words import overlap_sentences
from tui.shared.command_run import refusal
from tui.shared.overview import ProcedureLine, last_fingerprint, procedure_lines
from tui.shared.undone import stranded_memories

SHOWN_PAIRS = 10
"""How many pairs ``show`` prints as text; ``--json`` has them all."""


def add_actions(actions: Actions) -> None:
    """What can be typed behind ``proc`` about procedures as a whole."""
    adding = actions.add("add", add, "define a procedure from example pairs")
    adding.add_argument("name", metavar="NAME", help="1 to 40 characters of a-z, 0-9, '-' and '_'")
    pairs_option(adding, required=True)
    _map_option(adding)
    adding.add_argument("--description", metavar="TEXT", help="what it does; otherwise that of the file")
    adding.add_argument("--schema", metavar="FILE", type=Path, help="JSON schema that its answers are held to")
    adding.add_argument(
        "--reads-conversation", action="store_true", help="let it see what was said before, not the message alone"
    )
    _overlap_option(adding)
    importing = actions.add("import", import_pairs, "add pairs to a procedure, or replace them")
    importing.add_argument("name", metavar="NAME")
    pairs_option(importing, required=True)
    _map_option(importing)
    importing.add_argument("--replace", action="store_true", help="put them in the place of the present ones")
    beginning = actions.add("template", template, "a file of pairs to begin with")
    beginning.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        type=Path,
        help="ends in .csv, .tsv, .jsonl or .json; without it CSV on stdout",
    )
    listing = actions.add("list", list_all, "all procedures of the profile")
    listing.add_argument("--group", metavar="GROUP", help="only those of this group")
    showing = actions.add("show", show, "one procedure with its pairs and memories")
    showing.add_argument("name", metavar="NAME")
    _overlap_option(showing)
    renaming = actions.add("rename", rename, "give a procedure another name")
    renaming.add_argument("name", metavar="NAME")
    renaming.add_argument("new_name", metavar="NEW")
    for name, function, help_text in (
        ("remove", remove, "remove procedures with their pairs and memories (see 'proc undo')"),
        ("enable", enable, "let procedures take part in recall"),
        ("disable", disable, "keep procedures but do not recall them"),
    ):
        action = actions.add(name, function, help_text)
        action.add_argument("names", metavar="NAME", nargs="*")
        action.add_argument("--group", metavar="GROUP", help="all procedures of this group")
    grouping = actions.add("group", group, "put procedures into a group, or take them out")
    grouping.add_argument("names", metavar="NAME", nargs="+")
    grouping.add_argument(
        "--in", dest="group", metavar="GROUP", default="", help="the group; without it they are in none"
    )
    accepting = actions.add("accept", accept, "take procedures of a bank as your own")
    accepting.add_argument("names", metavar="NAME", nargs="+")


def add_undo(actions: Actions) -> None:
    """What can be typed behind ``proc undo``."""
    undoing = actions.add("undo", undo, "take back the last change to procedures or pairs")
    undoing.add_argument(
        "--forget",
        action="store_true",
        help="delete what was removed and all versions but the present ones, for good; nothing can be taken back then",
    )


def _overlap_option(parser: Parser) -> None:
    parser.add_argument(
        "--overlap", action="store_true", help="say which of its pairs would go to other procedures (loads the model)"
    )


def _map_option(parser: Parser) -> None:
    parser.add_argument(
        "--map",
        metavar="input=COL,response=COL",
        help="which columns or keys to take; A+B joins two, numbers count columns of a table without a header",
    )
    parser.add_argument("--skip-bad", action="store_true", help="leave rows out that cannot be used, and name them")


def add(context: Context, options: argparse.Namespace) -> int:
    """Define a procedure from a file of pairs; all of it or nothing."""
    name = check_name(options.name)
    # Before a large file is read; add_procedure looks again, in its transaction.
    if any(record.name == name for record in context.store.procedures.list()):
        raise ConflictError(
            f"There is a procedure {name!r} already.",
            next_step=f"Add pairs to it: tokmem-desk proc import {name} --pairs FILE",
        )
    found = _load(context, options)
    description = options.description if options.description is not None else found.description or ""
    if fault := text_fault(description):
        raise BadInputError(f"The description {fault}.", next_step="Correct it and try again.")
    schema = found.output_schema if options.schema is None else load_schema(options.schema).text
    reads = found.reads_conversation or options.reads_conversation
    if options.overlap:  # load first: where the model is missing, nothing has changed yet
        context.engine.load()
    record = context.store.procedures.add(
        Procedure(name, found.pairs, found.held_out, description, found.pattern, schema, reads),
        source=Path(options.pairs).name,
    )
    findings = lint_pairs(found.pairs, output_schema=record.output_schema)
    context.console.say(f"Added {name}: {_counts(record)}.")
    say_findings(context, findings)
    overlap = _overlap(context, name) if options.overlap else None
    context.console.say(f"Next: tokmem-desk train {name}")
    value = {**procedure_object(record), "findings": finding_objects(findings)}
    context.console.result(value if overlap is None else {**value, "overlap": overlap}, "")
    return ExitCode.OK


def _overlap(context: Context, name: str) -> Overlap:
    """Ask the engine where the pairs of a procedure would go, and say it."""
    found = cast(Overlap, context.engine.result("overlap", name=name))
    for sentence in overlap_sentences(found) or [f"No pair of {name} would go to another procedure."]:
        context.console.say(f"  note: {sentence}")
    return found


def import_pairs(context: Context, options: argparse.Namespace) -> int:
    """Add the pairs of a file to a procedure, or put them in the place of the present ones."""
    name = context.store.procedures.get(options.name).name
    found = _load(context, options)
    context.store.pairs.add_parts(name, found.parts, Path(options.pairs).name, replace=options.replace)
    record = context.store.procedures.get(name)
    findings = lint_pairs([one.pair for one in context.store.pairs.list(name)], output_schema=record.output_schema)
    context.console.say(f"{name} has {_counts(record)} now.")
    say_findings(context, findings)
    context.console.say(f"Next: tokmem-desk train {name}")
    context.console.result({**procedure_object(record), "findings": finding_objects(findings)}, "")
    return ExitCode.OK


_ADVICE = " Or leave such rows out with --skip-bad, or take other columns with --map input=COLUMN,response=COLUMN."


def _load(context: Context, options: argparse.Namespace) -> PairsFile:
    """The pairs of ``--pairs``; says what was recognised where it is not our own form."""
    mapping = ColumnMapping.parse(options.map) if options.map is not None else None
    if options.skip_bad:
        found = read_pairs_file(options.pairs, mapping)
    else:
        found = load_pairs(options.pairs, mapping, advice=_ADVICE)
    if not found.count:
        raise BadInputError(
            f"{options.pairs} holds no usable pair.",
            next_step=f"Line {found.problems[0].line}: {found.problems[0].reason}.",
        )
    for problem in found.problems:
        context.console.say(f"  left out: line {problem.line}: {problem.reason}")
    for form in found.forms:
        if form not in ("pairs", "mapped"):
            context.console.say(f"Read as {FORM_WORDS[form]}.")
    for note in found.notes:
        context.console.say(note)
    return found


def template(context: Context, options: argparse.Namespace) -> int:
    """Write a file of pairs to begin with, or print one."""
    if options.file is None:
        text = pairs_text(TEMPLATE, ".csv").replace("\r\n", "\n").rstrip("\n")
        context.console.result({"action": "proc template", "names": [], "text": text}, text)
        return ExitCode.OK
    write_template(options.file)
    context.console.say(f"Wrote {options.file}. Put your own pairs there, then: tokmem-desk proc add NAME --pairs FILE")
    context.console.result({"action": "proc template", "names": [], "file": str(options.file)}, "")
    return ExitCode.OK


def list_all(context: Context, options: argparse.Namespace) -> int:
    """List the procedures of the profile."""
    lines = procedure_lines(context.store, last_fingerprint(context.store))
    if options.group is not None:
        _refuse_no_group(context, options.group)
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
    headings = ("name", "pairs", "held out", "state", "ROUGE-L", "recall", "group", "description")
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
        "findings": finding_objects(lint_pairs([one.pair for one in pairs], output_schema=record.output_schema)),
    }
    if options.overlap:
        context.engine.load()
        value["overlap"] = _overlap(context, record.name)
    command = store.commands.get(record.name)
    refused = "" if command is None else refusal(command, record.output_schema or "")
    if command is not None:
        value["command"] = {"template": list(command.template), "refused": refused or None}
    shown = _shown(line, pairs, memories, context.settings.flag("keep_form"))
    if command is not None:
        template = " ".join(quoted(element) for element in command.template)
        shown += f"\n\ncommand      {shortened(template, 90)}\n             {command_ending(command, refused)}"
    context.console.result(value, shown)
    return ExitCode.OK


def rename(context: Context, options: argparse.Namespace) -> int:
    """Give a procedure another name."""
    record = context.store.procedures.rename(options.name, options.new_name)
    return changed(context, "proc rename", [record.name], f"{options.name} is called {record.name} now.")


def remove(context: Context, options: argparse.Namespace) -> int:
    """Remove procedures; all names are checked before the first goes."""
    names = _wanted(context, options)
    for name in names:
        context.store.procedures.remove(name)
    context.tidy()
    text = f"Removed {', '.join(names)}. To take back the last removal: tokmem-desk proc undo"
    return changed(context, "proc remove", names, text)


def enable(context: Context, options: argparse.Namespace) -> int:
    """Let procedures take part in recall."""
    return _set_enabled(context, options, enabled=True)


def disable(context: Context, options: argparse.Namespace) -> int:
    """Keep procedures but do not recall them."""
    return _set_enabled(context, options, enabled=False)


def undo(context: Context, options: argparse.Namespace) -> int:
    """Take back the last change to procedures or pairs; or let nothing be taken back any more."""
    if options.forget:
        context.agree("Delete what was removed and all versions but the present ones, for good?")
        context.store.undo.forget()
        context.tidy()
        done = "What was removed is deleted; nothing can be taken back."
        return changed(context, "proc undo", [], " ".join(filter(None, (done, context.store.scrubber.run()))))
    touched = context.store.undo.changed_procedures()
    text = context.store.undo.take_back()
    status = changed(context, "proc undo", [], f"Taken back: {text}.", undone=text)
    for one in stranded_memories(context.store, touched, last_fingerprint(context.store)):
        context.console.say(one.sentence)
        context.console.say(f"To train it from the pairs as they are now: tokmem-desk train {one.name}")
        if one.version is not None:
            context.console.say(
                f"To go back to the memory of that time, too: tokmem-desk proc rollback {one.name} {one.version} "
                f"({one.earlier} then)"
            )
    return status


def changed(context: Context, action: str, names: list[str], text: str, **more: Any) -> int:
    """Report a change that has no data of its own: a sentence, or a small object with ``--json``."""
    context.console.say(text)
    context.console.result({"action": action, "names": names, **more}, "")
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


def group(context: Context, options: argparse.Namespace) -> int:
    """Put procedures into a group, or take them out of theirs."""
    names = _known(context, options.names)
    group = ""
    for name in names:
        group = context.store.procedures.set_group(name, options.group).group
    where = f"in the group {group}" if group else "in no group"
    return changed(context, "proc group", names, f"{', '.join(names)}: now {where}.")


def accept(context: Context, options: argparse.Namespace) -> int:
    """Take procedures that came with a bank as the person's own: none of them gives way to others any more."""
    names = _known(context, options.names)
    accepted = [name for name in names if context.store.memories.accept(name)]
    text = f"{', '.join(accepted)}: now as good as your own." if accepted else "These are your own already."
    return changed(context, "proc accept", names, text)


def _set_enabled(context: Context, options: argparse.Namespace, *, enabled: bool) -> int:
    names = _wanted(context, options)
    for name in names:
        context.store.procedures.set_enabled(name, enabled)
    word = "takes part in recall" if enabled else "is not recalled any more"
    text = f"{', '.join(names)} {word}." if len(names) == 1 else f"{', '.join(names)}: each {word}."
    return changed(context, f"proc {'enable' if enabled else 'disable'}", names, text)


def _wanted(context: Context, options: argparse.Namespace) -> list[str]:
    """The named procedures and those of the named group.

    Raises:
        NotFoundError: no procedure or group of that name.
        UsageError: nothing was named.
    """
    names = _known(context, options.names)
    if options.group is not None:
        _refuse_no_group(context, options.group)
        names += [one.name for one in context.store.procedures.list() if one.group == options.group]
    if not names:
        raise UsageError("Which procedures?", next_step="Name them, or a group with --group.")
    return list(dict.fromkeys(names))


def _refuse_no_group(context: Context, group: str) -> None:
    groups = context.store.procedures.groups()
    if group not in groups:
        raise NotFoundError(
            f"There is no group {group!r}.{did_you_mean(group, groups)}",
            next_step="" if groups else "Make one: tokmem-desk proc group NAME ... --in GROUP",
        )


def _known(context: Context, names: list[str]) -> list[str]:
    """The names without repetition, all of procedures.

    Raises:
        NotFoundError: one is of no procedure.
    """
    return [context.store.procedures.get(name).name for name in dict.fromkeys(names)]


def _counts(record: ProcedureRecord) -> str:
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


def _shown(line: ProcedureLine, pairs: list[PairRecord], memories: list[MemoryRecord], keep_form: bool) -> str:
    record = line.record
    facts = [
        f"name         {record.name}",
        f"description  {record.description or '-'}",
        f"pattern      {record.pattern or '-'}",
        f"schema       {shortened(record.output_schema or '-', 90)}",
        f"answers      {_answer_words(line, keep_form)}",
        f"reads        {'the conversation' if record.reads_conversation else 'the message alone'}",
        f"pairs        {_counts(record)}, from {record.source or '-'}",
        f"group        {record.group or '-'}",
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
        facts += ["", table(("memory", "status", "pairs", "ROUGE-L", "made"), rows, right=(2, 3))]
    if pairs:
        shown = [(shortened(one.input, 70), shortened(one.response, 70)) for one in pairs[:SHOWN_PAIRS]]
        facts += ["", table(("input", "response"), shown)]
    if len(pairs) > SHOWN_PAIRS:
        facts.append(f"and {len(pairs) - SHOWN_PAIRS} more; --json shows all")
    return "\n".join(facts)
