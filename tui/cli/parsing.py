"""What every command's arguments are built with: the parser, actions, options of several commands, kinds of values."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tokmem_desk.errors import UsageError, did_you_mean
from tui.cli.console import writing_output

if TYPE_CHECKING:
    from tui.cli.context import Context

PROGRAM = "tokmem-desk"
PRESETS = ("quick", "normal", "thorough")

CommandFunction = Callable[["Context", argparse.Namespace], int]
"""Does a command; returns its exit code."""


class Parser(argparse.ArgumentParser):
    """A parser that reports with our errors instead of printing and exiting.

    Args:
        parents: parsers of options that this one takes too; its actions take them as well.
        keywords: further arguments of ``argparse.ArgumentParser``.
    """

    def __init__(self, *, parents: Sequence[Parser] = (), **keywords: Any) -> None:
        self.shared = list(parents)
        super().__init__(parents=self.shared, **keywords, allow_abbrev=False)

    def actions(self) -> Actions:
        """Make this the parser of a command with actions."""
        return Actions(self)

    def error(self, message: str) -> NoReturn:
        """Raise instead of exit.

        Raises:
            UsageError: always.
        """
        sentence = message[:1].upper() + message[1:]
        raise UsageError(f"{sentence.rstrip('.')}.", next_step=f"See: {self.prog} --help")

    def _print_message(self, message: str, file: Any = None) -> None:
        # argparse passes over what the system says about a full disk.
        if message:
            with writing_output():
                print(message, end="", file=file, flush=True)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        # The only seam argparse offers for a nearer hint than the list of all choices.
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            what = "command" if isinstance(action, argparse._SubParsersAction) else "value"
            raise argparse.ArgumentError(
                None if what == "command" else action,
                f"there is no {what} {value!r}.{did_you_mean(str(value), known)} Known: {', '.join(known)}",
            )


class Actions:
    """The actions of a command such as ``profile``: each has a parser and a function.

    Args:
        parser: of the command.
    """

    def __init__(self, parser: Parser) -> None:
        self._shared = parser.shared
        self._choices = parser.add_subparsers(metavar="ACTION", title="actions", required=True)

    def add(self, name: str, function: CommandFunction, help_text: str, **more: Any) -> Parser:
        """Add an action that ``function`` does.

        Args:
            more: further arguments of ``argparse.ArgumentParser``.
        """
        made: Parser = self._choices.add_parser(
            name, parents=self._shared, help=help_text, description=sentence(help_text), **more
        )
        made.set_defaults(function=function)
        return made


class LazyParsers(dict[str, Any]):
    """The parsers of commands by name; each is made when it is first asked for.

    So a command's module is imported only when the command is typed.

    Args:
        names: of the commands, in the order in which they are shown.
        make: makes the parser of one.
    """

    def __init__(self, names: Iterable[str], make: Callable[[str], Parser]) -> None:
        super().__init__(dict.fromkeys(names))
        self._make = make

    def __getitem__(self, name: str) -> Parser:
        parser: Parser | None = super().__getitem__(name)
        if parser is None:
            parser = self[name] = self._make(name)
        return parser

    def items(self) -> Any:
        """All of them, made."""
        return [(name, self[name]) for name in self]

    def values(self) -> Any:
        """All of them, made."""
        return [self[name] for name in self]


def pairs_option(parser: Parser, *, required: bool) -> None:
    """Add ``--pairs``, a file of example pairs."""
    parser.add_argument(
        "--pairs",
        metavar="FILE",
        type=Path,
        required=required,
        help='CSV with the columns input and response, JSONL {"input", "response"}, a procedure\'s JSON, Alpaca, '
        "ShareGPT or chat messages; '-' reads stdin",
    )


def continue_option(parser: Parser, help_text: str) -> None:
    """Add ``--continue``: go on with the last conversation."""
    parser.add_argument("-c", "--continue", action="store_true", dest="go_on", help=help_text)


def system_option(parser: Parser) -> None:
    """Add ``--system``, what plain chat is told."""
    parser.add_argument(
        "--system",
        metavar="TEXT",
        help="what plain chat is told first, instead of the profile's text; '-' reads stdin; procedures never see it",
    )


def port_option(parser: Parser, default: int) -> None:
    """Add ``--port``, on which a server of this computer listens."""
    parser.add_argument(
        "--port", metavar="N", type=_port, default=default, help=f"default: {default}; 0 takes any that is free"
    )


def sentence(text: str) -> str:
    """A line of help as a sentence."""
    return text[:1].upper() + text[1:] + "."


def whole_number(text: str) -> int:
    """A value of 0 or more."""
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return number


def positive_number(text: str) -> int:
    """A value of 1 or more."""
    number = whole_number(text)
    if number == 0:
        raise argparse.ArgumentTypeError("0 is too small")
    return number


def _port(text: str) -> int:
    number = whole_number(text)
    if number > 65535:
        raise argparse.ArgumentTypeError(f"{number} is no port; the highest is 65535")
    return number
