"""Widgets: a profile as a card, and the details of the one under the cursor. Both draw only what they are given."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from profiles.registry.contents import ProfileContents
from profiles.registry.registry import ProfileInfo
from tui.kit.keys import keyed
from tui.kit.words import ago, count, size

UNREADABLE = "cannot be counted"


def lock_words(info: ProfileInfo, is_open: bool) -> str:
    """The state of the lock, with a sign."""
    if not info.locked:
        return "□ no passphrase"
    return "▣ passphrase; open now" if is_open else "▣ locked"


@keyed("profiles")
class ProfileCard(Static, can_focus=True):
    """Name, banks, size, last use, lock. Enter or a click chooses it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,space", "choose", "Switch", key_display="⏎")]

    DEFAULT_CSS = """
    ProfileCard {
        height: 6; padding: 0 1; border: round $panel-lighten-2; background: $surface; color: $muted; pointer: pointer;
        border-title-color: $text; border-title-style: bold;
        &.-open { border-title-color: $primary; border: round $primary 60%; }
        &:hover { background: $panel; }
        &:focus { border: heavy $primary; background: $panel; }
    }
    """

    class Chosen(Message):
        """The person wants to work with this profile."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    class Highlighted(Message):
        """The card got the focus."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self) -> None:
        super().__init__()
        self.profile = ""

    def show(self, info: ProfileInfo, found: ProfileContents | None, *, is_open: bool, training: bool) -> None:
        """Draw.

        Args:
            info: its line in the list.
            found: what is in it; None when that cannot be read.
            is_open: it is the one in use.
            training: a training of it runs.
        """
        self.profile = info.name
        self.set_class(is_open, "-open")
        self.border_title = Content(f"● {info.name} · in use" if is_open else info.name).markup
        lines = [Content.styled(_holding(info, found), "$text")]
        models = "" if found is None else f"trained for {count(len(found.banks), 'model')} · "
        lines.append(Content(f"{models}{size(info.bytes)}"))
        lines.append(
            Content.styled("▶ training now", "$accent") if training else Content(f"used {ago(info.last_used)}")
        )
        lines.append(Content(lock_words(info, is_open)))
        self.update(Content("\n").join(lines))

    def on_focus(self) -> None:
        """Ask for the details of this profile."""
        self.post_message(self.Highlighted(self.profile))

    def action_choose(self) -> None:
        """Work with it."""
        self.post_message(self.Chosen(self.profile))

    def on_click(self) -> None:
        """A click on the card that has the focus chooses it."""
        if self.has_focus:
            self.action_choose()


class ProfileDetails(Static):
    """All counts of one profile, its banks, and where it lies."""

    DEFAULT_CSS = """
    ProfileDetails { height: auto; }
    """

    def show(self, info: ProfileInfo, found: ProfileContents | None, folder: Path) -> None:
        """Draw."""
        lines = [Content.styled(info.name, "bold $primary"), Content("")]
        if found is None and info.locked:
            lines.append(Content("▣ Encrypted. Its passphrase shows what is in it; nobody else can count or read it."))
        elif found is None:
            lines.append(Content("! What is in it cannot be counted: it is damaged, busy, or of a newer version."))
        else:
            lines += [Content(line) for line in holdings(found)]
            lines += [Content(""), Content.styled("Trained for", "bold $primary")]
            lines += [
                Content.assemble(
                    bank.model or "a model of an earlier version",
                    Content.styled(f"  {count(bank.memory_count, 'memory', 'memories')}", "$muted"),
                )
                for bank in found.banks
            ] or [Content.styled("none yet: nothing is trained", "$muted")]
        lines += [
            Content(""),
            Content.styled("On the disk", "bold $primary"),
            Content(size(info.bytes)),
            Content.styled(str(folder), "$muted"),
            Content.styled(f"made {ago(info.created)}", "$muted"),
        ]
        self.update(Content("\n").join(lines))


def holdings(found: ProfileContents) -> list[str]:
    """What is in a profile, a line for each kind of thing that there is."""
    lines = [
        count(found.procedures, "procedure"),
        count(found.pairs, "example pair"),
        f"{count(found.memories, 'memory', 'memories')}, older versions included",
        f"{count(found.conversations, 'chat')} with {count(found.messages, 'message')}",
        count(found.corrections, "correction"),
    ]
    numbers = (found.procedures, found.pairs, found.memories, found.conversations, found.corrections)
    return [line for line, number in zip(lines, numbers, strict=True) if number] or ["nothing yet"]


def _holding(info: ProfileInfo, found: ProfileContents | None) -> str:
    if found is None:
        return "encrypted" if info.locked else UNREADABLE
    counts = (
        (found.procedures, count(found.procedures, "procedure")),
        (
            found.conversations,
            count(found.conversations, "chat"),
        ),
    )
    return " · ".join(words for number, words in counts if number) or "empty"
