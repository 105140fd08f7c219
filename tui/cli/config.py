"""``config``: settings, and where everything is kept."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from profiles.settings.settings import Scope, SettingRow
from tui.cli.console import table
from tui.cli.context import Context
from tui.cli.exit_codes import ExitCode
from tui.cli.parsing import Parser


def arguments(parser: Parser) -> None:
    """What can be typed behind ``config``."""
    actions = parser.actions()
    actions.add("path", path, "where everything is kept")
    actions.add("show", show, "all settings, their values and where those come from")
    changing = actions.add("set", set_key, "change a setting")
    changing.add_argument("key", metavar="KEY")
    changing.add_argument("value", metavar="VALUE")
    resetting = actions.add("reset", reset, "put a setting back to its default")
    resetting.add_argument("key", metavar="KEY")
    for action in (changing, resetting):
        action.add_argument("--only-profile", action="store_true", help="for the profile in use alone")


def path(context: Context, options: argparse.Namespace) -> int:
    """Print where everything is; nothing is made or opened."""
    paths = context.paths
    places = {
        "config": str(paths.config_file),
        "data": str(paths.data),
        "state": str(paths.state),
        "cache": str(paths.cache),
        "models": str(paths.models),
        "logs": str(paths.logs),
    }
    context.console.result(places, table(("what", "where"), list(places.items())))
    return ExitCode.OK


def show(context: Context, options: argparse.Namespace) -> int:
    """Print all settings."""
    rows = context.settings.show()
    cells = [(row.key, _value(row), row.source, f"{row.doc}{f' ({row.unit})' if row.unit else ''}") for row in rows]
    text = table(("setting", "value", "from", "meaning"), cells)
    context.console.result({"settings": [asdict(row) for row in rows]}, text)
    return ExitCode.OK


def set_key(context: Context, options: argparse.Namespace) -> int:
    """Change a setting."""
    return _done(context, context.settings.set(options.key, options.value, _scope(options)))


def reset(context: Context, options: argparse.Namespace) -> int:
    """Put a setting back to its default."""
    return _done(context, context.settings.reset(options.key, _scope(options)))


def _scope(options: argparse.Namespace) -> Scope:
    return "profile" if options.only_profile else "user"


def _done(context: Context, row: SettingRow) -> int:
    context.console.say(f"{row.key} is {_value(row)} now, from {row.source}.")
    context.console.result(asdict(row), "")
    return ExitCode.OK


def _value(row: SettingRow) -> str:
    return str(row.value).lower() if isinstance(row.value, bool) else str(row.value)
