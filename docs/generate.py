"""Write docs/reference.md and docs/tokmem-desk.1 from the program itself: commands, settings, keys, exit codes.

    python -m docs.generate            (or: make docs)

A test fails when the files on disk differ from what this would write.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from textual.binding import Binding

import tui.banks
import tui.kit
import tui.shell
from profiles.settings.setting_keys import KEYS, SettingKey
from tui.cli.arguments import build_parser
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import PROGRAM
from tui.shell.app import TokmemApp
from tui.shell.commands import APP_COMMANDS, AppCommand, command_bindings
from tui.shell.screens import SCREENS, ScreenEntry, screen_bindings

DOCS = Path(__file__).parent
REFERENCE = DOCS / "reference.md"
MANUAL = DOCS / "tokmem-desk.1"

EXIT_CODES = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "failed; the sentence on stderr says why",
    ExitCode.USAGE: "the command line makes no sense",
    ExitCode.RETRY: "busy or out of memory: the same command may work later",
    ExitCode.INCOMPATIBLE: "trained for another model, or written by a newer version",
    ExitCode.INTERRUPTED: "interrupted with Ctrl-C",
}
VARIABLES = {
    "TOKMEM_HOME": "keep everything below this folder, as --home does",
    "TOKMEM_<SETTING>": "a setting, such as TOKMEM_OFFLINE=true; wins over the files, and options win over it",
    "TOKMEM_DEBUG": "1 shows tracebacks instead of sentences",
    "NO_COLOR": "no colours on stderr and in the app",
}


@dataclass(frozen=True)
class Command:
    """One command as the parser knows it."""

    path: tuple[str, ...]
    summary: str
    usage: str
    arguments: list[tuple[str, str]]


@dataclass(frozen=True)
class KeyTable:
    """The keys of one screen or widget."""

    title: str
    rows: list[tuple[str, str]]


def commands(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[Command]:
    """Every command that can be run, in the parser's order."""
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction):
            continue
        summaries = {choice.dest: str(choice.help or "") for choice in action._choices_actions}
        for name, child in action.choices.items():
            below = list(commands(child, (*path, name)))
            if below:
                yield from below
                continue
            own = [one for one in _own_actions(child) if one.dest != "help"]
            parts = " ".join(_usage(one) for one in own)
            arguments = [(_shown(one), _help(one)) for one in own if one.help]
            usage = " ".join((PROGRAM, *path, name, parts)).strip()
            yield Command((*path, name), summaries.get(name, ""), usage, arguments)


def shared_options(parser: argparse.ArgumentParser) -> list[tuple[str, str]]:
    """The options that every command takes."""
    return [(_shown(one), _help(one)) for one in parser._actions if one.option_strings and one.dest != "help"]


def key_tables() -> list[KeyTable]:
    """The keys of the app, then of each room, then of what the rooms share."""
    of_screens = [importlib.import_module(entry.screen.__module__.rpartition(".")[0]) for entry in SCREENS]
    rooms = dict.fromkeys((*of_screens, tui.shell, tui.banks, tui.kit))
    kinds = [kind for room in rooms for kind in _classes(room) if kind is not TokmemApp]
    tables = [KeyTable(_title(kind), _key_rows(kind.__dict__.get("BINDINGS", []))) for kind in kinds]
    everywhere = KeyTable("Everywhere", everywhere_keys(SCREENS, APP_COMMANDS))
    return [everywhere, *(table for table in tables if table.rows)]


def everywhere_keys(screens: tuple[ScreenEntry, ...], commands: tuple[AppCommand, ...]) -> list[tuple[str, str]]:
    """The keys that work on every screen, and what each does."""
    return _key_rows([*screen_bindings(screens), *command_bindings(commands), *TokmemApp.BINDINGS])


def reference() -> str:
    """The text of docs/reference.md."""
    parser = build_parser()
    lines = [
        "# Reference",
        "",
        "Made from the program by `make docs`; do not edit. The same as a manual page: `man tokmem-desk`, or",
        "`man -l docs/tokmem-desk.1`.",
        "",
        "[Commands](#commands) · [Options of every command](#options-of-every-command) · [Settings](#settings) ·",
        "[Keys](#keys) · [Exit codes](#exit-codes) · [Variables](#variables)",
        "",
        "## Commands",
    ]
    for command in commands(parser):
        lines += ["", f"### {' '.join(command.path)}", "", _sentence(command.summary), "", f"    {command.usage}"]
        if command.arguments:
            lines += ["", *_table(("", ""), [(f"`{name}`", text) for name, text in command.arguments])]
    options = [(f"`{name}`", text) for name, text in shared_options(parser)]
    lines += ["", "## Options of every command", "", *_table(("option", ""), options)]
    settings = [(f"`{key.name}`", key.title, f"`{_default(key)}`", _limits(key), key.doc) for key in KEYS.values()]
    lines += [
        "",
        "## Settings",
        "",
        "In `config.toml`; change them with `tokmem-desk config set KEY VALUE` or in the app (`F9`).",
        "",
        *_table(("setting", "in the app", "default", "values", "meaning"), settings),
        "",
        "## Keys",
        "",
        "Other keys can be given under `[keys]` in `config.toml`, by the action's id.",
    ]
    for table in key_tables():
        rows = [(f"`{key}`", text) for key, text in table.rows]
        lines += ["", f"### {table.title}", "", *_table(("key", ""), rows)]
    lines += ["", "## Exit codes", "", *_table(("code", ""), [(str(int(c)), text) for c, text in EXIT_CODES.items()])]
    lines += ["", "## Variables", "", *_table(("variable", ""), [(f"`{n}`", text) for n, text in VARIABLES.items()])]
    return "\n".join(lines) + "\n"


def manual() -> str:
    """The text of docs/tokmem-desk.1, in the man macros."""
    parser = build_parser()
    lines = [
        ".\\\" Made from the program by 'make docs'; do not edit.",
        '.TH TOKMEM\\-DESK 1 "" "tokmem\\-desk" "User Commands"',
        ".SH NAME",
        "tokmem\\-desk \\- teach a language model on your own computer from example pairs",
        ".SH SYNOPSIS",
        ".B tokmem\\-desk",
        "[\\fICOMMAND\\fR] [\\fIOPTIONS\\fR]",
        ".SH DESCRIPTION",
        _roff(str(parser.description)),
        ".PP",
        _roff(str(parser.epilog)),
        ".SH COMMANDS",
    ]
    for command in commands(parser):
        lines += [".SS " + _roff(" ".join(command.path)), _roff(_sentence(command.summary)), ".PP"]
        lines += [".nf", _roff(command.usage), ".fi", *_roff_list(command.arguments)]
    lines += [".SH OPTIONS OF EVERY COMMAND", *_roff_list(shared_options(parser))]
    settings = [
        (key.name, f"{key.doc} {_limits(key)[:1].upper()}{_limits(key)[1:]}. Default: {_default(key)}.")
        for key in KEYS.values()
    ]
    lines += [".SH SETTINGS", *_roff_list(settings), ".SH KEYS"]
    for table in key_tables():
        lines += [".SS " + _roff(table.title), *_roff_list(table.rows)]
    lines += [".SH EXIT STATUS", *_roff_list((str(int(code)), text) for code, text in EXIT_CODES.items())]
    lines += [".SH ENVIRONMENT", *_roff_list(VARIABLES.items())]
    return "\n".join(lines) + "\n"


def _own_actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """A command's own arguments; those of every command stand in a group of their own."""
    shared = {id(one) for group in parser._action_groups[2:] for one in group._group_actions}
    named = {id(one) for group in parser._mutually_exclusive_groups for one in group._group_actions}
    return [one for one in parser._actions if id(one) not in shared or id(one) in named]


def _shown(action: argparse.Action) -> str:
    name = str(action.metavar or "") if not action.choices or action.metavar else "|".join(map(str, action.choices))
    if not action.option_strings:
        return name
    return f"{action.option_strings[-1]} {name}".strip() if action.nargs != 0 else action.option_strings[-1]


def _usage(action: argparse.Action) -> str:
    shown = _shown(action)
    if action.option_strings:
        return shown if action.required else f"[{shown}]"
    return {"*": f"[{shown} ...]", "+": f"{shown} ...", "?": f"[{shown}]"}.get(str(action.nargs), shown)


def _help(action: argparse.Action) -> str:
    return str(action.help or "").replace("%%", "%")


def _default(key: SettingKey) -> str:
    return str(key.default).lower() if isinstance(key.default, bool) else str(key.default)


def _limits(key: SettingKey) -> str:
    if key.choices:
        return ", ".join(key.choices)
    kind = "true or false" if isinstance(key.default, bool) else key.limits or "text"
    return f"{kind} {key.unit}".strip()


def _classes(package: ModuleType) -> Iterator[type]:
    for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(info.name)
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if kind.__module__ == module.__name__:
                yield kind


def _key_rows(found: Iterable[Any]) -> list[tuple[str, str]]:
    return [
        (", ".join(map(_key, one.key.split(","))), one.tooltip or one.description)
        for one in found
        if isinstance(one, Binding) and (one.description or one.tooltip)
    ]


def _key(key: str) -> str:
    names = {"question_mark": "?", "slash": "/", "escape": "Esc", "plus": "+", "minus": "-", "pageup": "PageUp"}
    names["pagedown"] = "PageDown"
    *held, last = key.strip().split("+")
    shown = names.get(last, last.upper() if held and len(last) == 1 else last.capitalize() if len(last) > 1 else last)
    return "+".join([*(one.capitalize() for one in held), shown])


def _title(kind: type) -> str:
    """``ChatScreen`` as ``Chat``, ``EditPairDialog`` as ``Edit pair dialog``."""
    words = re.findall(r"[A-Z][a-z]*", kind.__name__.removesuffix("Screen"))
    return " ".join(words).capitalize()


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    lines = [f"| {' | '.join(headings)} |", f"| {' | '.join('---' for _ in headings)} |"]
    return lines + [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]


def _roff(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + escaped if escaped.startswith((".", "'")) else escaped


def _roff_list(rows: Iterable[tuple[str, str]]) -> list[str]:
    return [line for name, text in rows for line in (".TP", f".B {_roff(name)}", _roff(text or "\\&"))]


def main() -> None:
    """Write both."""
    REFERENCE.write_text(reference(), encoding="utf-8")
    MANUAL.write_text(manual(), encoding="utf-8")


if __name__ == "__main__":
    main()
