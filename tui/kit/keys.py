"""Names for key bindings, so that ``[keys]`` of the settings can give another key to each, and checks of such a table.

A name is the place and the action: ``procedures.import``, ``chat.new``. Ctrl+Q always quits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from textual.binding import Binding
from textual.dom import DOMNode

from profiles.settings.setting_keys import nearest

QUIT_KEYS = frozenset({"ctrl+q"})

BINDING_IDS: set[str] = set()
"""Every name there is, once the classes are imported."""

Node = TypeVar("Node", bound=type[DOMNode])


def binding_id(group: str, action: str) -> str:
    """The name of an action: ``binding_id("train", "preset('quick')")`` is ``train.preset-quick``."""
    plain = re.sub(r"-(\d)", r"minus\1", action.removeprefix("screen.").removeprefix("app.").lower())
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    return f"{group}.{words}"


def name_bindings(cls: type[DOMNode], group: str) -> None:
    """Give a name to each of a class's own bindings that has none; to be called before Textual merges them."""
    own = cls.__dict__.get("BINDINGS", ())
    named = [
        replace(entry, id=binding_id(group, entry.action)) if isinstance(entry, Binding) and entry.id is None else entry
        for entry in own
    ]
    if own:
        cls.BINDINGS = named
    BINDING_IDS.update(entry.id for entry in named if isinstance(entry, Binding) and entry.id is not None)


def keyed(group: str) -> Callable[[Node], Node]:
    """Decorate a widget whose bindings shall have names."""

    def decorate(cls: Node) -> Node:
        name_bindings(cls, group)
        cls._merged_bindings = cls._merge_bindings()
        return cls

    return decorate


def usable_keymap(wanted: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """What of ``[keys]`` can be put in force, and a sentence about each line that cannot.

    Args:
        wanted: name of an action to a key, or several with commas.
    """
    usable: dict[str, str] = {}
    problems: list[str] = []
    for name, keys in wanted.items():
        key_names = {key.strip() for key in keys.split(",")}
        if name not in BINDING_IDS:
            problems.append(f"[keys]: there is no action {name!r}.{nearest(name, BINDING_IDS)}")
        elif not all(key_names):
            problems.append(f'[keys]: {name} has no key. Write for instance  {name} = "f6"')
        elif key_names & QUIT_KEYS:
            problems.append(f"[keys]: {name} cannot have Ctrl+Q, which always quits.")
        else:
            usable[name] = keys
    return usable, problems
