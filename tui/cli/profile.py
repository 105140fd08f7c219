"""``profile``: list, create, switch, rename and delete profiles."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from profiles.registry.registry import ProfileInfo, ProfileRegistry
from tokmem_desk.errors import TokmemError
from tui.cli.changed import changed
from tui.cli.console import table
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.lock import add_lock_actions
from tui.cli.parsing import Parser
from tui.cli.texts import system_prompt_of
from tui.kit.words import size


def arguments(parser: Parser) -> None:
    """What can be typed behind ``profile``; the actions about its lock are in ``lock``."""
    actions = parser.actions()
    actions.add("list", list_all, "all profiles of this computer")
    for name, function, help_text in (
        ("create", create, "make an empty profile"),
        ("switch", switch, "make a profile the active one"),
        ("delete", delete, "erase a profile with everything in it, for good"),
    ):
        actions.add(name, function, help_text).add_argument("name", metavar="NAME")
    renaming = actions.add("rename", rename, "give a profile another name")
    renaming.add_argument("name", metavar="NAME")
    renaming.add_argument("new_name", metavar="NEW")
    telling = actions.add("system", system, "show or set what plain chat is told before each conversation")
    telling.add_argument(
        "text", metavar="TEXT", nargs="?", help="the system prompt; '' takes it away; '-' reads it from stdin"
    )
    add_lock_actions(actions)


def list_all(context: Context, options: argparse.Namespace) -> int:
    """List the profiles of this computer."""
    with ProfileRegistry(context.paths) as registry:
        found = registry.list()
    rows = [
        (
            "*" if one.active else "",
            one.name,
            "locked" if one.locked else one.procedure_count,
            size(one.bytes),
            _minute(one.last_used),
        )
        for one in found
    ]
    text = table(("", "name", "procedures", "size", "last used (UTC)"), rows, right=(2, 3))
    context.console.result({"profiles": [asdict(one) for one in found]}, text)
    return ExitCode.OK


def create(context: Context, options: argparse.Namespace) -> int:
    """Make an empty profile."""
    with ProfileRegistry(context.paths) as registry:
        made = registry.create(options.name)
    text = f"Made the profile {made.name}. To use it: tokmem-desk profile switch {made.name}"
    return changed(context, "profile create", [made.name], text)


def switch(context: Context, options: argparse.Namespace) -> int:
    """Make a profile the active one."""
    with ProfileRegistry(context.paths) as registry:
        made = registry.switch(options.name)
    return changed(context, "profile switch", [made.name], f"{made.name} is the active profile now.")


def rename(context: Context, options: argparse.Namespace) -> int:
    """Give a profile another name."""
    with ProfileRegistry(context.paths) as registry:
        made = registry.rename(options.name, options.new_name)
    text = f"The profile {options.name} is called {made.name} now."
    return changed(context, "profile rename", [made.name], text)


def system(context: Context, options: argparse.Namespace) -> int:
    """Show the system prompt of the profile in use, or set it."""
    chats = context.store.chats
    if options.text is not None:
        chats.set_system_prompt(system_prompt_of(options.text))
    text = chats.system_prompt
    context.console.result({"profile": context.profile.name, "system_prompt": text}, text)
    if not text:
        context.console.say("Plain chat is told nothing before a conversation.")
    return ExitCode.OK


def delete(context: Context, options: argparse.Namespace) -> int:
    """Erase a profile, after asking."""
    with ProfileRegistry(context.paths) as registry:
        info = registry.info(options.name)
        _agree(context, info)
        registry.delete(info.name)
        now_active = registry.active().name
    text = f"The profile {info.name} is erased. {now_active} is the active one."
    return changed(context, "profile delete", [info.name], text)


def _minute(moment: str) -> str:
    """A stored time without seconds."""
    return moment[:16].replace("T", " ")


def _agree(context: Context, info: ProfileInfo) -> None:
    if context.options.yes:
        return
    count = "an unknown number of" if info.procedure_count is None else info.procedure_count
    size_and_place = f"{size(info.bytes)} in {context.paths.profile_folder(info.id)}"
    what = f"{count} procedures with their pairs, all memories, checkpoints, chats and backups, {size_and_place}"
    if not context.console.can_ask:
        raise TokmemError(
            f"Erasing the profile {info.name!r} cannot be undone ({what}).", next_step="Add --yes to do it."
        )
    context.console.tell(f"This erases the profile {info.name!r} for good: {what}.")
    if context.console.ask_text("To do that, type its name: ") != info.name:
        raise TokmemError("Nothing was erased.")
