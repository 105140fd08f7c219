"""Completion in shells: ``completion bash`` prints what a shell reads, and the program itself answers each Tab.

argcomplete does both. Here is only what may stand in a place: procedures, profiles, settings, models. Imports no torch,
and says nothing when it cannot tell.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import argcomplete
from argcomplete.completers import FilesCompleter
from argcomplete.shell_integration import shellcode

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from profiles.settings.setting_keys import KEYS
from profiles.store.store import ProfileStore
from tokmem_desk.errors import TokmemError
from tokmem_desk.models.catalogue import CATALOGUE
from tokmem_desk.procedures import AUTO_ROUTE, NONE_ROUTE
from tui.cli.arguments import build_parser
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import PROGRAM, Parser

SHELLS = ("bash", "zsh", "fish")

HOW_TO = {
    "bash": 'add to ~/.bashrc:  eval "$(tokmem-desk completion bash)"',
    "zsh": 'add to ~/.zshrc, behind compinit:  eval "$(tokmem-desk completion zsh)"',
    "fish": "save as ~/.config/fish/completions/tokmem-desk.fish",
}

_NEW_NAMES = frozenset({("proc", "add"), ("profile", "create"), ("token", "create")})
"""Commands whose NAME does not exist yet."""

_Names = Callable[[argparse.Namespace], Iterable[str]]


def arguments(parser: Parser) -> None:
    """What can be typed behind ``completion``."""
    parser.add_argument("shell", choices=SHELLS, help="for which shell")


def run(context: Context, options: argparse.Namespace) -> int:
    """Print the shell's part."""
    context.console.say(f"# {options.shell}: {HOW_TO[options.shell]}")
    # Without the shell's own fallback, which would offer files where a name is wanted.
    context.console.data(shellcode([PROGRAM], use_defaults=False, shell=options.shell))
    return ExitCode.OK


def answer_tab() -> None:
    """Print what may come next and end the process; called when a shell asks."""
    parser = build_parser()
    _attach(parser, (), frozenset(os.environ.get("COMP_LINE", "").split()))
    argcomplete.autocomplete(parser, always_complete_options=False)


def _attach(parser: argparse.ArgumentParser, path: tuple[str, ...], typed: frozenset[str]) -> None:
    """Say for each argument what may stand there.

    Args:
        path: the names of the command so far.
        typed: the words of the line: only commands among them are looked at, and only their modules imported.
    """
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name in typed.intersection(action.choices):
                _attach(action.choices[name], (*path, name), typed)
        elif action.choices is None:
            action.completer = _completer(action, path)  # type: ignore[attr-defined]


def _completer(action: argparse.Action, path: tuple[str, ...]) -> Any:
    match action.metavar:
        case "FILE":
            return FilesCompleter()
        case "DIR":
            return FilesCompleter(directories=True)
        case "ROUTE":
            return _Completer(lambda options: [AUTO_ROUTE, NONE_ROUTE, *_procedures(options)])
        case "GROUP":
            return _Completer(_groups)
        case "KEY":
            return _Completer(lambda _: KEYS)
        case "ID":
            return _Completer(lambda _: [entry.id for entry in CATALOGUE] + ["default"])
        case "NAME" if action.option_strings or path[:1] == ("profile",):
            return _Completer(_profiles if path not in _NEW_NAMES else _nothing)
        case "NAME" if path[:1] == ("token",):
            return _Completer(_tokens if path not in _NEW_NAMES else _nothing)
        case "NAME":
            return _Completer(_procedures if path not in _NEW_NAMES else _nothing)
        case _:
            return _Completer(_nothing)


class _Completer:
    """Calls a function of the options given so far; whatever goes wrong, nothing is offered."""

    def __init__(self, names: _Names) -> None:
        self._names = names

    def __call__(self, *, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
        with contextlib.suppress(TokmemError):
            return list(self._names(parsed_args))
        return []


def _nothing(options: argparse.Namespace) -> Iterable[str]:
    return ()


def _procedures(options: argparse.Namespace) -> Iterable[str]:
    with _store(options) as store:
        return [] if store is None else [record.name for record in store.procedures.list()]


def _groups(options: argparse.Namespace) -> Iterable[str]:
    with _store(options) as store:
        return [] if store is None else store.procedures.groups()


def _profiles(options: argparse.Namespace) -> Iterable[str]:
    with _registry(options) as registry:
        return [] if registry is None else [info.name for info in registry.list()]


def _tokens(options: argparse.Namespace) -> Iterable[str]:
    with _registry(options) as registry:
        return [] if registry is None else [info.name for info in registry.tokens.list()]


@contextlib.contextmanager
def _registry(options: argparse.Namespace) -> Iterator[ProfileRegistry | None]:
    """The list of profiles; None where there is none yet: pressing Tab makes no files."""
    paths = AppPaths.resolve(getattr(options, "home", None))
    if not paths.registry_file.exists():
        yield None
        return
    with ProfileRegistry(paths, lock_seconds=0.2) as registry:
        yield registry


@contextlib.contextmanager
def _store(options: argparse.Namespace) -> Iterator[ProfileStore | None]:
    with _registry(options) as registry:
        if registry is None:
            yield None
            return
        with registry.open(getattr(options, "profile", None)) as store:
            yield store
