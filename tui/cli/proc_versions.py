"""``proc history``, ``proc diff`` and ``proc rollback``: the versions of a procedure. Needs no model."""

from __future__ import annotations

import argparse
import json
import shlex
from typing import Any

from profiles.store.versions import PairChange, VersionRecord
from tokmem_desk.procedures import ExamplePair
from tui.cli.changed import changed
from tui.cli.console import table
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import Actions, whole_number
from tui.kit.words import shortened
from tui.shared.overview import READS, last_fingerprint

TEXT_WIDTH = 60


def add_version_actions(actions: Actions) -> None:
    """What can be typed behind ``proc`` about versions."""
    telling = actions.add("history", history, "the versions of a procedure")
    telling.add_argument("name", metavar="NAME")
    telling.add_argument("--forget", action="store_true", help="delete all versions but the present one, for good")
    comparing = actions.add("diff", diff, "what changed between two versions")
    comparing.add_argument("name", metavar="NAME")
    comparing.add_argument("before", metavar="VERSION", type=whole_number)
    comparing.add_argument(
        "after", metavar="OTHER", type=whole_number, nargs="?", help="the present version unless given"
    )
    returning = actions.add("rollback", rollback, "go back to an earlier version")
    returning.add_argument("name", metavar="NAME")
    returning.add_argument("version", metavar="VERSION", type=whole_number)


def history(context: Context, options: argparse.Namespace) -> int:
    """List the versions, newest first; or delete the past ones."""
    store, name = context.store, options.name
    if options.forget:
        context.agree(f"Delete all versions of {name} but the present one, for good?")
        count = store.versions.forget_past(name)
        done = f"Deleted {count} earlier versions of {name}."
        return changed(context, "proc history", [name], " ".join(filter(None, (done, store.scrubber.run()))))
    versions = store.versions.list(name)
    memories = {memory.id: memory.version for memory in store.memories.list(name)}
    fingerprint = last_fingerprint(store) or ""
    rows = [
        (
            f"#{one.number}",
            one.updated[:16].replace("T", " "),
            one.pair_count,
            one.held_out_count,
            _memory_words(memories.get(one.memories.get(fingerprint, ""))),
            one.text,
        )
        for one in versions
    ]
    text = table(("version", "changed", "pairs", "held out", "memory", "what"), rows, right=(2, 3))
    context.console.result({"name": name, "versions": [_version_object(one, memories) for one in versions]}, text)
    context.console.say(f"To compare: tokmem-desk proc diff {name} VERSION; to go back: proc rollback {name} VERSION")
    return ExitCode.OK


def diff(context: Context, options: argparse.Namespace) -> int:
    """Show what changed from one version to another, the present one unless named."""
    store, name = context.store, options.name
    after = store.versions.list(name)[0].number if options.after is None else options.after
    found = store.versions.diff(name, options.before, after, last_fingerprint(store))
    memories = {memory.id: memory.version for memory in store.memories.list(name)}
    answering = None if found.memories is None else [memories.get(one or "") for one in found.memories]
    value = {
        "name": name,
        "before": options.before,
        "after": after,
        "changes": [_change_object(one) for one in found.changes],
        "description": None if found.description is None else list(found.description),
        "output_schema": None if found.output_schema is None else [_document(one) for one in found.output_schema],
        "reads_conversation": None if found.reads_conversation is None else list(found.reads_conversation),
        "command": None if found.command is None else [one and list(one) for one in found.command],
        "memories": answering,
    }
    lines = [line for one in found.changes for line in change_lines(one)]
    if found.description is not None:
        lines.append(f"~ description: {found.description[0] or '-'} → {found.description[1] or '-'}")
    if found.output_schema is not None:
        lines.append(f"~ form of answers: {' → '.join(one or '-' for one in found.output_schema)}")
    if found.reads_conversation is not None:
        lines.append(f"~ reads {' → '.join(READS[one] for one in found.reads_conversation)}")
    if found.command is not None:
        lines.append(f"~ command: {' → '.join('-' if one is None else shlex.join(one) for one in found.command)}")
    if answering is not None:
        lines.append(f"~ memory: {_memory_words(answering[0])} → {_memory_words(answering[1])}")
    context.console.result(value, "\n".join(lines))
    if not lines:
        context.console.say(f"Versions {options.before} and {after} of {name} are the same.")
    return ExitCode.OK


def rollback(context: Context, options: argparse.Namespace) -> int:
    """Go back to a version; the way there is one undo."""
    text = context.store.versions.roll_back(options.name, options.version)
    sentence = f"{text[:1].upper()}{text[1:]}. To take that back: tokmem-desk proc undo"
    return changed(context, "proc rollback", [options.name], sentence, version=options.version)


def change_lines(change: PairChange, width: int = TEXT_WIDTH) -> list[str]:
    """A changed pair as one line, or two where it was edited: - what was, + what is."""
    held_out = "(held out) " if change.part == "held_out" else ""
    return [
        f"{sign} {held_out}{shortened(pair.input, width)} → {shortened(pair.response, width)}"
        for sign, pair in (("-", change.before), ("+", change.after))
        if pair is not None
    ]


def _document(schema: str | None) -> Any:
    return None if schema is None else json.loads(schema)


def _memory_words(version: int | None) -> str:
    return "-" if version is None else f"v{version}"


def _version_object(version: VersionRecord, memories: dict[str, int]) -> dict[str, Any]:
    return {
        "version": version.number,
        "kind": version.kind,
        "text": version.text,
        "description": version.description,
        "output_schema": _document(version.output_schema),
        "reads_conversation": version.reads_conversation,
        "command": None if version.command is None else list(version.command),
        "pairs": version.pair_count,
        "held_out": version.held_out_count,
        "memories": {fingerprint: memories.get(one) for fingerprint, one in version.memories.items()},
        "created": version.created,
        "updated": version.updated,
    }


def _change_object(change: PairChange) -> dict[str, Any]:
    return {"part": change.part, "before": _pair_object(change.before), "after": _pair_object(change.after)}


def _pair_object(pair: ExamplePair | None) -> dict[str, Any] | None:
    return None if pair is None else {"input": pair.input, "response": pair.response}
