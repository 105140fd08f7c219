"""``proc rename``, ``remove``, ``enable``, ``disable``, ``group``, ``accept`` and ``undo``. Needs no model."""

from __future__ import annotations

import argparse

from tokmem_desk.errors import NotFoundError, UsageError, did_you_mean
from tui.cli.changed import changed
from tui.cli.context import Context
from tui.cli.parsing import Actions
from tui.shared.overview import last_fingerprint
from tui.shared.undone import stranded_memories


def add_change_actions(actions: Actions) -> None:
    """What can be typed behind ``proc`` that changes procedures as a whole."""
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
        refuse_no_group(context, options.group)
        names += [one.name for one in context.store.procedures.list() if one.group == options.group]
    if not names:
        raise UsageError("Which procedures?", next_step="Name them, or a group with --group.")
    return list(dict.fromkeys(names))


def refuse_no_group(context: Context, group: str) -> None:
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
