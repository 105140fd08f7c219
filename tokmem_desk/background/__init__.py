"""Texts that ship with the program: groups of like messages, and ordinary chat that no procedure answers."""

from __future__ import annotations

import json
from importlib import resources


def groups() -> dict[str, list[str]]:
    """Messages by group; those of one group would go to one procedure."""
    data = json.loads(resources.files(__name__).joinpath("groups.json").read_text(encoding="utf-8"))
    return {name: list(group["texts"]) for name, group in data["groups"].items()}


MEASURING = 100
"""Chat messages at the end of the list that nothing is fitted on."""


def _chat() -> list[str]:
    data = json.loads(resources.files(__name__).joinpath("chat.json").read_text(encoding="utf-8"))
    return list(data["messages"])


def chat_for_fitting() -> list[str]:
    """Ordinary chat messages to fit a router on."""
    return _chat()[:-MEASURING]


def chat_for_measuring() -> list[str]:
    """Other ones, to measure how often a procedure is triggered by mistake."""
    return _chat()[-MEASURING:]
