"""A dialog with the versions of a procedure. It shows what changed since each, and goes back to one."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Button, OptionList, Static
from textual.widgets.option_list import Option

from profiles.store.versions import VersionDiff, VersionRecord
from tui.kit.dialog import Dialog, buttons
from tui.shared.overview import READS

SHOWN_CHANGES = 60


class VersionsDialog(Dialog[int | None]):
    """Closes with the version to go back to, or with None.

    Args:
        name: the procedure.
        versions: newest first, at least one.
        memories: numbers of the memories by id.
        fingerprint: the backbone whose memory is shown.
        diff: tells what changed from a version to the present one.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "go_back", "Go back"),
        Binding("k", "up", show=False),
        Binding("j", "down", show=False),
    ]

    def __init__(
        self,
        name: str,
        versions: Sequence[VersionRecord],
        memories: dict[str, int],
        fingerprint: str,
        diff: Callable[[int], VersionDiff],
    ) -> None:
        super().__init__(f"Versions of {name}")
        self._versions, self._memories, self._fingerprint, self._diff = versions, memories, fingerprint, diff

    def body(self) -> ComposeResult:
        with Horizontal(id="versions-body"):
            options = OptionList(id="versions", markup=False)
            options.add_options(Option(self._line(version)) for version in self._versions)
            yield options
            with VerticalScroll(id="changes-scroll"):
                yield Static(id="changes")
        yield buttons(("cancel", "Esc Close"), ("back", "r Go back to it"), primary="back")

    def on_mount(self) -> None:
        """The last version before the present one is what most want."""
        options = self.query_one(OptionList)
        options.highlighted = min(1, len(self._versions) - 1)
        options.focus()

    def _line(self, version: VersionRecord) -> Content:
        answered = self._memories.get(version.memories.get(self._fingerprint, ""))
        memory = "" if answered is None else f", memory v{answered}"
        held_out = f" + {version.held_out_count} held out" if version.held_out_count else ""
        return Content.assemble(
            Content.styled(f"#{version.number}", "bold"),
            f"  {version.updated[:16].replace('T', ' ')}\n",
            Content.styled(f"{version.text}\n{version.pair_count} pairs{held_out}{memory}", "$muted"),
        )

    @property
    def _chosen(self) -> VersionRecord | None:
        place = self.query_one(OptionList).highlighted
        return None if place is None else self._versions[place]

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Show what going back would change."""
        version = self._versions[event.option_index]
        present = version.number == self._versions[0].number
        self.query_one("#back", Button).display = not present
        text = Content.styled("This is the present version.", "$muted")
        if not present:
            text = diff_text(self._diff(version.number), self._memories)
        self.query_one("#changes", Static).update(text)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter goes back."""
        self.action_go_back()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Go back, or leave all as it is."""
        if event.button.id == "back":
            self.action_go_back()
        else:
            self.dismiss(None)

    def action_go_back(self) -> None:
        """Choose the version, unless it is the present one."""
        version = self._chosen
        if version is not None and version.number != self._versions[0].number:
            self.dismiss(version.number)

    def action_up(self) -> None:
        """One version newer."""
        self.query_one(OptionList).action_cursor_up()

    def action_down(self) -> None:
        """One version older."""
        self.query_one(OptionList).action_cursor_down()


def diff_text(diff: VersionDiff, memories: dict[str, int]) -> Content:
    """What changed since a version: + came, - went; going back does the opposite."""
    lines = [Content.styled("Since then", "bold $primary")]
    if diff.description is not None:
        lines += _both("description: ", diff.description[0] or "-", diff.description[1] or "-")
    if diff.output_schema is not None:
        lines += _both("form: ", *(one or "none" for one in diff.output_schema))
    if diff.reads_conversation is not None:
        lines += _both("reads ", *(READS[one] for one in diff.reads_conversation))
    if diff.command is not None:
        lines += _both("command: ", *("none" if one is None else shlex.join(one) for one in diff.command))
    if diff.memories is not None:
        before, after = (memories.get(one or "") for one in diff.memories)
        words = ["none" if one is None else f"v{one}" for one in (before, after)]
        lines += _both("memory: ", words[0], words[1])
    for change in diff.changes[:SHOWN_CHANGES]:
        mark = "t " if change.part == "held_out" else ""
        if change.before is not None:
            lines.append(Content.styled(f"- {mark}{change.before.input} → {change.before.response}", "$text-error"))
        if change.after is not None:
            lines.append(Content.styled(f"+ {mark}{change.after.input} → {change.after.response}", "$text-success"))
    if len(diff.changes) > SHOWN_CHANGES:
        lines.append(Content.styled(f"and {len(diff.changes) - SHOWN_CHANGES} more pairs", "$muted"))
    if len(lines) == 1:
        lines.append(Content.styled("nothing changed", "$muted"))
    return Content("\n").join(lines)


def _both(what: str, before: str, after: str) -> list[Content]:
    return [Content.styled(f"- {what}{before}", "$text-error"), Content.styled(f"+ {what}{after}", "$text-success")]
