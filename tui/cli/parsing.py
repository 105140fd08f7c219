"""What every part of the command line is built with: the parser, commands with their help, kinds of values."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from tokmem_desk.errors import UsageError, did_you_mean
from tui.cli.console import writing_output

PROGRAM = "tokmem-desk"
Subparsers = Any  # argparse has no public name for what add_subparsers returns


class Parser(argparse.ArgumentParser):
    """A parser that reports with our errors instead of printing and exiting."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords, allow_abbrev=False)

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


def define(
    commands: Subparsers, shared: Parser, name: str, module: str, function: str, help_text: str, **more: Any
) -> Parser:
    """Add a command; ``function`` of ``tui.cli.module`` does it."""
    made: Parser = commands.add_parser(name, parents=[shared], help=help_text, description=_sentence(help_text), **more)
    made.set_defaults(module=module, function=function)
    return made


def define_group(commands: Subparsers, shared: Parser, name: str, help_text: str) -> Subparsers:
    """Add a word that commands stand behind."""
    made = commands.add_parser(name, parents=[shared], help=help_text, description=_sentence(help_text))
    return made.add_subparsers(metavar="ACTION", title="actions", required=True)


def _sentence(text: str) -> str:
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
