"""``proc``: its actions, from the modules that do them."""

from __future__ import annotations

from tui.cli.parsing import Parser
from tui.cli.proc import add_actions, add_undo
from tui.cli.proc_model import add_model_actions
from tui.cli.proc_versions import add_version_actions
from tui.cli.tools import add_tool_actions


def arguments(parser: Parser) -> None:
    """What can be typed behind ``proc``."""
    actions = parser.actions()
    add_actions(actions)
    add_tool_actions(actions)
    add_undo(actions)
    add_version_actions(actions)
    add_model_actions(actions)
