"""``proc``: its actions, from the modules that do them."""

from __future__ import annotations

from tui.cli.parsing import Parser
from tui.cli.proc_chain import add_chain_actions
from tui.cli.proc_change import add_change_actions, add_undo
from tui.cli.proc_define import add_define_actions
from tui.cli.proc_habits import add_habit_actions
from tui.cli.proc_improve import add_improve_actions
from tui.cli.proc_model import add_model_actions
from tui.cli.proc_show import add_show_actions
from tui.cli.proc_versions import add_version_actions
from tui.cli.proc_words import add_word_actions
from tui.cli.tools import add_tool_actions


def arguments(parser: Parser) -> None:
    """What can be typed behind ``proc``."""
    actions = parser.actions()
    add_define_actions(actions)
    add_word_actions(actions)
    add_show_actions(actions)
    add_change_actions(actions)
    add_tool_actions(actions)
    add_undo(actions)
    add_version_actions(actions)
    add_model_actions(actions)
    add_habit_actions(actions)
    add_improve_actions(actions)
    add_chain_actions(actions)
