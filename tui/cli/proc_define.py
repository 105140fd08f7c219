"""``proc add``, ``proc import`` and ``proc template``: pairs from files. Needs no model, but for ``--overlap``."""

from __future__ import annotations

import argparse
from pathlib import Path

from profiles.pair_files.lint import lint_pairs, repeated_sentence
from profiles.pair_files.pairs_file import PairsFile, without_problems
from profiles.pair_files.row_forms import FORM_WORDS, ColumnMapping
from profiles.pair_files.writers import TEMPLATE, pairs_text, write_template
from profiles.store.pair_rules import text_fault
from tokmem_desk.errors import BadInputError, ConflictError
from tokmem_desk.procedures import Procedure, check_name
from tokmem_desk.templates.learned_schema import learned_schema
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import Actions, Parser, pairs_option
from tui.cli.proc_model import overlap_option, say_overlap
from tui.cli.proc_show import pair_counts, procedure_object
from tui.cli.texts import pairs_of, source_of
from tui.cli.tools import fields_note, finding_objects, load_schema, say_findings


def add_define_actions(actions: Actions) -> None:
    """What can be typed behind ``proc`` about files of pairs."""
    adding = actions.add("add", add, "define a procedure from example pairs")
    adding.add_argument("name", metavar="NAME", help="1 to 40 characters of a-z, 0-9, '-' and '_'")
    pairs_option(adding, required=True)
    _map_option(adding)
    adding.add_argument("--description", metavar="TEXT", help="what it does; otherwise that of the file")
    adding.add_argument("--schema", metavar="FILE", type=Path, help="JSON schema that its answers are held to")
    adding.add_argument(
        "--reads-conversation", action="store_true", help="let it see what was said before, not the message alone"
    )
    overlap_option(adding)
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


def _map_option(parser: Parser) -> None:
    parser.add_argument(
        "--map",
        metavar="input=COL,response=COL",
        help="which columns or keys to take; A+B joins two, numbers count columns of a table without a header, "
        "A.B leads inside; values that are no text are taken as JSON",
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
        source=source_of(options.pairs),
    )
    findings = lint_pairs(found.pairs, output_schema=record.output_schema)
    context.console.say(f"Added {name}: {pair_counts(record)}.")
    say_findings(context, findings)
    if schema is None and (learned := learned_schema(found.pairs)) is not None:
        context.console.say(f"  note: {fields_note(name, learned)}")
    overlap = say_overlap(context, name) if options.overlap else None
    context.console.say(f"Next: tokmem-desk train {name}")
    value = {**procedure_object(record), "findings": finding_objects(findings)}
    context.console.result(value if overlap is None else {**value, "overlap": overlap}, "")
    return ExitCode.OK


def import_pairs(context: Context, options: argparse.Namespace) -> int:
    """Add the pairs of a file to a procedure, or put them in the place of the present ones."""
    name = context.store.procedures.get(options.name).name
    found = _load(context, options)
    present = (
        [] if options.replace else [one.pair for part in found.parts for one in context.store.pairs.list(name, part)]
    )
    repeated = repeated_sentence((*found.pairs, *found.held_out), present)
    context.store.pairs.add_parts(name, found.parts, source_of(options.pairs), replace=options.replace)
    record = context.store.procedures.get(name)
    findings = lint_pairs([one.pair for one in context.store.pairs.list(name)], output_schema=record.output_schema)
    context.console.say(f"{name} has {pair_counts(record)} now.")
    if repeated:
        context.console.say(f"{repeated} Was the file imported before? To take this back: tokmem-desk proc undo")
    say_findings(context, findings)
    context.console.say(f"Next: tokmem-desk train {name}")
    context.console.result({**procedure_object(record), "findings": finding_objects(findings)}, "")
    return ExitCode.OK


_ADVICE = " Or leave such rows out with --skip-bad, or take other columns with --map input=COLUMN,response=COLUMN."


def _load(context: Context, options: argparse.Namespace) -> PairsFile:
    """The pairs of ``--pairs``; says what was recognised where it is not our own form."""
    mapping = ColumnMapping.parse(options.map) if options.map is not None else None
    file, found = pairs_of(options.pairs, mapping)
    if not options.skip_bad:
        found = without_problems(file, found, advice=_ADVICE)
    if not found.count:
        raise BadInputError(
            f"{file} holds no usable pair.",
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
