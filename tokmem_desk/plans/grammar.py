"""The grammar that generated plans are held to: the steps of this language, with the names of procedures that exist."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tokmem_desk.plans.steps import ASK, TELL
from tokmem_desk.procedures import NONE_ROUTE

DEEPEST = 2
"""Blocks within one another at most in what a model writes; the text form may have more."""

_REFERENCE = r"\{[a-z0-9_-]{1,40}(\.[^{}.\s]{1,60}){0,2}\}"
_VALUE = rf"([^\n{{}} ][^\n{{}}]{{0,60}}|{_REFERENCE})"
_TEST = rf"{_REFERENCE} (is missing|is there|(<=|>=|!=|=|<|>|in|not in) {_VALUE})"
# One terminal, not rules: where a value ends is known only from what follows it.
_TERMINALS = rf"""
TEXT: /([^\n{{}} ]|{_REFERENCE})([^\n{{}}]|{_REFERENCE})*/
CONDITION: /{_TEST}(( and {_TEST})*|( or {_TEST})*)/
"""


def steps_grammar(names: Iterable[str]) -> str:
    """A Lark grammar, as llguidance reads it, of plans that call only these procedures.

    Args:
        names: of the procedures that exist; plain chat can always be called.
    """
    known = " | ".join(json.dumps(name) for name in [*names, NONE_ROUTE])
    lines = [
        "start: block0",
        f"NAME: {known}",
        "LABEL: /[a-z0-9_-]{1,40} = /",
        f'OWN: "{ASK}" | "{TELL}"',
        _TERMINALS.strip(),
    ]
    for depth in range(DEEPEST + 1):
        indent = json.dumps("\n" + "  " * depth)
        branch = f" | branch{depth}" if depth < DEEPEST else ""
        lines.append(f"block{depth}: item{depth} ({indent} item{depth})*")
        lines.append(f'item{depth}: LABEL? NAME (": " TEXT)? | OWN ": " TEXT{branch}')
        if depth < DEEPEST:
            inner = json.dumps("\n" + "  " * (depth + 1))
            lines.append(
                f'branch{depth}: "if " CONDITION {inner} block{depth + 1} '
                f'({indent} "else if " CONDITION {inner} block{depth + 1})* ({indent} "else" {inner} block{depth + 1})?'
            )
    return "\n".join(lines)
