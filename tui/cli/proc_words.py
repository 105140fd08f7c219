"""``proc new`` and ``proc export``: procedures from texts of other programs, and written for them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from profiles.files.atomic import write_text
from profiles.pair_files.lint import lint_pairs
from profiles.pair_files.writers import pairs_text
from profiles.skill_files.folder import read_folder, read_skill_file
from profiles.skill_files.reading import read_skill
from profiles.skill_files.skill import FORM_NAMES, Skill
from profiles.skill_files.writing import EXPORT_FORMS, written_skill
from profiles.store.procedures import ProcedureRecord
from tokmem_desk.errors import BadInputError, ConflictError, InterruptedByUser, TokmemError, UsageError
from tokmem_desk.procedures import ExamplePair, Procedure, check_name
from tui.cli.context import Context
from tui.cli.drafting import drafting_context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import Actions, positive_number, whole_number
from tui.cli.proc_show import pair_counts, procedure_object
from tui.cli.texts import STDIN, read_text
from tui.cli.tools import say_findings
from tui.shared.draft_words import refused_sentence, weak_words

_KEYS = "[k]eep, [m]end the answer, [d]rop, [s]top?"
_SPOILED = ("contradiction", "too_long", "empty", "schema")
"""What of the lint takes a draft out where nobody looks at it."""


def add_word_actions(actions: Actions) -> None:
    """What can be typed behind ``proc`` about texts of other programs."""
    making = actions.add("new", new, "make a procedure of a description, a prompt, a skill or a template")
    making.add_argument("name", metavar="NAME", nargs="?", help="1 to 40 characters of a-z, 0-9, '-' and '_'")
    making.add_argument(
        "--from-text",
        metavar="FILE",
        help="SKILL.md, a fabric pattern, a template of llm, a Modelfile, or any prompt; '-' reads stdin",
    )
    making.add_argument("--from-folder", metavar="DIR", type=Path, help="all of these in a folder, each under its name")
    making.add_argument(
        "--drafts", metavar="FILE", type=Path, help="write the drafts to a file of pairs; store nothing"
    )
    making.add_argument(
        "--count",
        metavar="N",
        type=positive_number,
        help="pairs that the model drafts (8; none where the text has some)",
    )
    making.add_argument("--seed", metavar="N", type=whole_number, help="the same drafts every time")
    exporting = actions.add("export", export, "write a procedure for other programs")
    exporting.add_argument("name", metavar="NAME")
    exporting.add_argument("--as", dest="form", choices=EXPORT_FORMS, required=True, help="the form")
    exporting.add_argument("--out", dest="file", metavar="FILE", type=Path, help="a new file; without it stdout")


def new(context: Context, options: argparse.Namespace) -> int:
    """Make procedures of texts."""
    if (options.from_text is None) == (options.from_folder is None):
        raise UsageError("From which text?", next_step="Give either --from-text FILE or --from-folder DIR.")
    if options.from_folder is not None:
        return _from_folder(context, options)
    if options.name is None:
        raise UsageError("The procedure needs a name.", next_step="proc new NAME --from-text FILE")
    name = check_name(options.name)
    _refuse_taken(context, name)
    if options.drafts is not None and options.drafts.exists():
        raise ConflictError(f"There is a file {options.drafts} already.", next_step="Choose another name.")
    source = options.from_text
    skill = read_skill(read_text(STDIN)) if source == STDIN else read_skill_file(Path(source))
    _say_skill(context, skill)
    pairs = list(skill.pairs)
    count = options.count if options.count is not None else (0 if pairs else 8)
    if count and options.drafts is None and not options.yes and not context.console.can_ask:
        raise UsageError(
            "Somebody must look at the drafts.",
            next_step="Write them to a file with --drafts FILE, or keep all that are usable with --yes.",
        )
    if count:
        drafts = _drafted(context, skill, count, options.seed, ask=options.drafts is None and not options.yes)
        pairs += drafts
    if options.drafts is not None:
        write_text(options.drafts, pairs_text(pairs, options.drafts.suffix.lower()))
        context.console.say(f"Wrote {len(pairs)} pairs to {options.drafts}. Read and correct them, then:")
        context.console.say(f"tokmem-desk proc add {name} --pairs {options.drafts}")
        _result(context, [], [], str(options.drafts))
        return ExitCode.OK
    record = _add(context, name, skill, pairs, "stdin" if source == STDIN else Path(source).name)
    context.console.say(f"Next: tokmem-desk train {name}")
    _result(context, [record], [])
    return ExitCode.OK


def _from_folder(context: Context, options: argparse.Namespace) -> int:
    if options.name is not None or options.drafts is not None:
        raise UsageError(
            "A folder gives names and pairs of its own.", next_step="Leave NAME and --drafts out, or take one file."
        )
    found, unused = read_folder(options.from_folder)
    made: list[ProcedureRecord] = []
    for one in found:
        try:
            _refuse_taken(context, one.name)
            pairs = list(one.skill.pairs)
            count = options.count if options.count is not None else (0 if pairs else 8)
            if count and not options.yes:
                raise BadInputError(
                    "It has no examples.",
                    next_step=f"Have the model draft some: proc new {one.name} --from-text FILE, or --yes for all.",
                )
            context.console.say(f"{one.path.relative_to(options.from_folder)}:")
            _say_skill(context, one.skill)
            if count:
                pairs += _drafted(context, one.skill, count, options.seed, ask=False)
            made.append(_add(context, one.name, one.skill, pairs, one.path.name))
        except InterruptedByUser:
            raise
        except TokmemError as error:
            unused.append((one.path, f"{error.message} {error.next_step or ''}".strip()))
    for path, reason in unused:
        context.console.say(f"  not used: {path.relative_to(options.from_folder)}: {reason}")
    procedures = "1 procedure" if len(made) == 1 else f"{len(made)} procedures"
    files = "1 file" if len(unused) == 1 else f"{len(unused)} files"
    context.console.say(f"{procedures} added, {files} not used.")
    _result(context, made, [{"path": str(path), "reason": reason} for path, reason in unused])
    return ExitCode.OK


def _refuse_taken(context: Context, name: str) -> None:
    if any(record.name == name for record in context.store.procedures.list()):
        raise ConflictError(f"There is a procedure {name!r} already.", next_step="Choose another name.")


def _say_skill(context: Context, skill: Skill) -> None:
    examples = f", with {len(skill.pairs)} examples" if skill.pairs else ""
    context.console.say(f"Read as {FORM_NAMES[skill.form]}{examples}.")
    for note in skill.notes:
        context.console.say(f"  note: {note}")


def _add(context: Context, name: str, skill: Skill, pairs: list[ExamplePair], source: str) -> ProcedureRecord:
    """Store what was kept.

    Raises:
        BadInputError: nothing was.
    """
    if not pairs:
        raise BadInputError(
            "No draft was kept, so nothing was stored.", next_step="Try another --seed, or write pairs: proc add"
        )
    procedure = Procedure(name, tuple(pairs), description=skill.description, output_schema=skill.output_schema)
    record = context.store.procedures.add(procedure, source=source)
    context.console.say(f"Added {name}: {pair_counts(record)}.")
    say_findings(context, lint_pairs(pairs, output_schema=record.output_schema))
    return record


def _drafted(context: Context, skill: Skill, count: int, seed: int | None, *, ask: bool) -> list[ExamplePair]:
    """Pairs that the model drafts and the person, or without one the lint, lets through."""
    drafting = drafting_context(context)
    if words := weak_words(drafting.engine.load(fit=False)):
        context.console.end_progress()
        context.console.say(words)
    kept: list[ExamplePair] = []
    done: dict[str, Any] = {}
    fields: dict[str, Any] = {
        "text": skill.text or skill.description,
        "count": count,
        "seed": seed,
        "schema": skill.output_schema,
        "known": [pair.input for pair in skill.pairs],
    }
    for event in drafting.engine.stream("draft_from_text", **fields):
        if event["event"] == "draft":
            kept.append(ExamplePair(event["input"], event["response"]))
            context.console.progress(f"Drafted {len(kept)} of {count}")
        elif event["event"] == "done":
            done = event["result"]
    context.console.end_progress()
    if done.get("cancelled"):
        raise InterruptedByUser("Stopped; nothing was stored.")
    context.console.say(f"Drafted {len(kept)} pairs.{refused_sentence(done.get('refused', {}))}")
    return _chosen(context, kept) if ask else _without_spoiled(skill, kept)


def _without_spoiled(skill: Skill, drafts: list[ExamplePair]) -> list[ExamplePair]:
    findings = lint_pairs([*skill.pairs, *drafts], output_schema=skill.output_schema)
    spoiled = {place for one in findings if one.kind in _SPOILED for place in one.pairs}
    spoiled |= {place for one in findings if one.kind == "duplicate" for place in one.pairs[1:]}
    return [pair for place, pair in enumerate(drafts, start=len(skill.pairs)) if place not in spoiled]


def _chosen(context: Context, drafts: list[ExamplePair]) -> list[ExamplePair]:
    """What the person keeps, one after the other."""
    kept = []
    for place, pair in enumerate(drafts, start=1):
        context.console.say(f"\n{place} of {len(drafts)}\n  {pair.input}\n→ {pair.response}")
        answer = context.console.choose(_KEYS, "kmds")
        if answer == "s":
            break
        if answer == "m":
            mended = context.console.ask_text("The right answer: ")
            pair = ExamplePair(pair.input, mended) if mended else pair
        if answer in ("k", "m"):
            kept.append(pair)
    return kept


def _result(
    context: Context, made: list[ProcedureRecord], unused: list[dict[str, str]], drafts: str | None = None
) -> None:
    value = {"added": [procedure_object(one) for one in made], "unused": unused, "drafts": drafts}
    context.console.result(value, "")


def export(context: Context, options: argparse.Namespace) -> int:
    """Write a procedure for other programs."""
    procedure = context.store.procedures.with_pairs(options.name)
    text, left_out = written_skill(procedure, options.form)
    if options.file is not None and options.file.exists():
        raise ConflictError(f"There is a file {options.file} already.", next_step="Choose another name.")
    if left_out:
        pairs = "1 pair" if left_out == 1 else f"{left_out} pairs"
        context.console.say(f"{pairs} left out: the form cannot hold the text.")
    if procedure.held_out:
        context.console.say(f"{len(procedure.held_out)} held-out pairs are not written: they measure.")
    facts: dict[str, Any] = {"action": "proc export", "names": [procedure.name]}
    if options.file is None:
        context.console.result({**facts, "text": text}, text.rstrip("\n"))
        return ExitCode.OK
    write_text(options.file, text)
    context.console.say(f"Wrote {options.file}.")
    context.console.result({**facts, "file": str(options.file)}, "")
    return ExitCode.OK
