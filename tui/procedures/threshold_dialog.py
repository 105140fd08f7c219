"""A dialog for a procedure's threshold: from which probability on it answers, with the effect of moving that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Button, Static

from tokmem_desk.errors import TokmemError
from tui.engine_client.client import RequestHandle
from tui.engine_client.link import EngineLink
from tui.engine_client.protocol import Effect, Overlap
from tui.kit.bar import bar
from tui.kit.dialog import Dialog, buttons, paragraph
from tui.kit.words import error_text
from tui.procedures.overlap_words import counts_at, measured_words, overlap_sentences

STEP = 0.05
FINE_STEP = 0.01
MOST = 0.99
BAR_CELLS = 24


class ThresholdDialog(Dialog[float | str | None]):
    """Closes with a threshold, with ``"auto"``, or with None: no change.

    Args:
        name: the procedure.
        threshold: the present one; None lets the most probable route answer.
        link: to the engine.
        profile: whose procedure it is.
        overlap: where it is known already.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", f"move({-STEP})", "Less sure", key_display="←"),
        Binding("right,l", f"move({STEP})", "Surer", key_display="→"),
        Binding("comma", f"move({-FINE_STEP})", "Finer", key_display=","),
        Binding("full_stop", f"move({FINE_STEP})", "Finer", key_display="."),
        Binding("a", "auto", "Auto"),
        Binding("enter", "press", show=False, priority=True),
        Binding("ctrl+s", "save", "Save", priority=True),
    ]

    def __init__(
        self, name: str, threshold: float | None, link: EngineLink, profile: str, overlap: Overlap | None = None
    ) -> None:
        super().__init__(f"When {name} answers")
        self._procedure, self._link, self._profile = name, link, profile
        self.level = threshold or 0.0
        """The threshold as it stands in the dialog; 0 is auto."""
        self._before = self.level
        self._overlap = overlap
        self._effect: Effect | None = None
        self._problem = ""
        self._handle: RequestHandle | None = None

    def body(self) -> ComposeResult:
        yield paragraph(
            "It answers when it is the most probable route and at least this probable; otherwise plain chat does.",
            classes="muted",
        )
        yield Static(id="slider")
        yield Static(id="effect")
        yield Static(id="overlap", classes="note")
        yield buttons(("cancel", "Esc Cancel"), ("auto", "a Auto"), ("save", "^s Save"), primary="save")

    def on_mount(self) -> None:
        """Draw, and ask the engine."""
        self.query_one("#save").focus()
        self._draw()
        self._ask()

    @work(exit_on_error=False)
    async def _ask(self) -> None:
        try:
            if self._overlap is None:
                self._overlap = cast(Overlap, await self._result("overlap"))
                self._draw()
            self._effect = cast(Effect, await self._result("effect"))
        except TokmemError as caught:
            self._problem = error_text(caught)
        self._handle = None
        if self.is_attached:
            self._draw()

    async def _result(self, op: str) -> dict[str, Any]:
        self._handle = self._link.submit(op, profile=self._profile, name=self._procedure)
        result: dict[str, Any] = {}
        async for event in self._link.events(self._handle):
            if event["event"] == "done":
                result = event["result"]
        return result

    async def on_unmount(self) -> None:
        """Cancel the request to the engine."""
        if self._handle is not None:
            await self._handle.cancel()

    def action_move(self, step: float) -> None:
        """Move the threshold; below the lowest step it is auto."""
        self.level = min(MOST, max(0.0, round(self.level + step, 2)))
        self._draw()

    def action_auto(self) -> None:
        """Let the most probable route answer."""
        self.level = 0.0
        self._draw()

    def action_press(self) -> None:
        """Press the button that has the focus, at first the one that saves."""
        if isinstance(self.focused, Button):
            self.focused.press()
        else:
            self.action_save()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Save, go to auto, or leave."""
        if event.button.id == "auto":
            self.action_auto()
        elif event.button.id == "save":
            self.action_save()
        else:
            self.dismiss(None)

    def action_save(self) -> None:
        """Keep it."""
        same = self.level == self._before
        self.dismiss(None if same else self.level or "auto")

    def _draw(self) -> None:
        words = "auto" if not self.level else f"{self.level:.0%}"
        self.query_one("#slider", Static).update(
            Content.assemble(
                Content.styled(f"{'Threshold':<16}", "bold"),
                bar(self.level, cells=BAR_CELLS, knob="◆"),
                Content.styled(f"  {words}", "bold $primary"),
            )
        )
        self.query_one("#effect", Static).update(self._effect_text())
        place = self.query_one("#overlap", Static)
        sentences = overlap_sentences(self._overlap) if self._overlap is not None else []
        place.update(Content("\n").join(Content.styled(f"! {sentence}", "$text-warning") for sentence in sentences))
        place.display = bool(sentences)

    def _effect_text(self) -> Content:
        if self._effect is None:
            return Content.styled(self._problem or "Looking at your pairs and at ordinary chat…", "$muted")
        effect = self._effect
        found = counts_at(effect, self.level)
        others = sum(other["of"] for other in effect["others"])
        names = ", ".join(other["name"] for other in effect["others"])
        rows: Sequence[tuple[str, int, int, str, bool]] = (
            ("its own", found.own, effect["own"]["of"], measured_words(effect), True),
            ("of others", found.others, others, names or "no other is trained", False),
            ("ordinary chat", found.chat, effect["chat"]["of"], "meant for no procedure", False),
        )
        lines = [Content("")]
        for what, count, of, words, good in rows:
            # A bar that is not empty must be seen.
            filled = max(count / of, 1 / BAR_CELLS) if count else 0.0
            lines.append(
                Content.assemble(
                    f"{what:<14} ",
                    bar(filled, "$text-success" if good else "$text-error", cells=BAR_CELLS),
                    Content.styled(f" {count:>4} of {of:<4}", "bold"),
                    Content.styled(words, "$muted"),
                )
            )
        return Content("\n").join(lines)
