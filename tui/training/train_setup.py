"""The pane to choose what to train and how long: procedures to tick and a preset."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Button, RadioButton, RadioSet, SelectionList, Static
from textual.widgets.selection_list import Selection

from tui.kit.ticks import Choice, TickList
from tui.shared.overview import ProcedureLine
from tui.training.queue import PRESETS

PRESET_WORDS = {
    "quick": "a first impression",
    "normal": "good for daily use",
    "thorough": "the best it can, several times slower",
}


class TrainSetup(Vertical):
    """The pane."""

    DEFAULT_CSS = """
    TrainSetup {
        height: 1fr; padding: 1 2;
        TickList { height: auto; max-height: 1fr; border: none; padding: 0; background: transparent; margin: 1 0; }
        TickList:focus { border: none; }
        RadioSet:focus { border: none; }
        RadioSet { border: none; background: transparent; padding: 0; height: auto; width: auto; margin: 0 0 1 0; }
        .hint { color: $muted; height: auto; }
        .heading { color: $primary; text-style: bold; height: 1; }
        #in-queue { height: auto; color: $text-warning; margin: 0 0 1 0; }
        #nothing { height: auto; margin: 1 0; color: $muted; }
        #estimate { margin: 0 0 1 0; }
        #start { width: auto; }
    }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._fresh: set[str] = set()

    def compose(self) -> ComposeResult:
        yield Static(id="in-queue", markup=False)
        yield Static("What to train", classes="heading")
        yield Static("New and changed procedures are ticked. Chat goes on while it trains.", classes="hint")
        yield TickList(id="choice")
        yield Static(id="nothing")
        yield Static("How long", classes="heading")
        with RadioSet(id="preset"):
            for preset in PRESETS:
                yield Choice(Content(f"{preset:<9} {PRESET_WORDS[preset]}"), id=f"preset-{preset}")
        yield Static(id="estimate", classes="hint", markup=False)
        yield Button("t Train", id="start", variant="primary", compact=True)

    def show(self, lines: Sequence[ProcedureLine], queue: str) -> None:
        """Draw; a procedure is ticked when it becomes new or changed, and unticked when it is trained.

        Args:
            lines: all procedures.
            queue: a sentence about what is in the queue already, or nothing.
        """
        choice = self.query_one(SelectionList)
        chosen, highlighted = set(choice.selected), choice.highlighted
        trainable = [line for line in lines if line.record.pair_count]
        fresh = {line.record.name for line in trainable if line.needs_training}
        ticked = (chosen - (self._fresh - fresh)) | (fresh - self._fresh)
        self._fresh = fresh
        width = max((len(line.record.name) for line in trainable), default=0)
        choice.clear_options()
        for line in trainable:
            words = f"{line.record.pair_count:>5} pairs   {line.words}" + ("" if line.record.enabled else "   off")
            prompt = Content.assemble(
                Content.styled(f"{line.record.name:<{width}}", "bold"), Content.styled(words, "$muted")
            )
            choice.add_option(Selection(prompt, line.record.name, line.record.name in ticked))
        if highlighted is not None and trainable:
            choice.highlighted = min(highlighted, len(trainable) - 1)
        nothing = self.query_one("#nothing", Static)
        choice.display, nothing.display = bool(trainable), not trainable
        nothing.update(
            Content.assemble(
                "There are no pairs to learn from. ", ("F3", "bold $accent"), " is where they are written."
            )
        )
        place = self.query_one("#in-queue", Static)
        place.update(queue)
        place.display = bool(queue)

    def show_estimate(self, words: str) -> None:
        """Say how long what is ticked will take, in a sentence, or nothing."""
        place = self.query_one("#estimate", Static)
        place.update(words)
        place.display = bool(words)

    def choose(self, names: Sequence[str]) -> None:
        """Tick exactly these."""
        choice = self.query_one(SelectionList)
        choice.deselect_all()
        for name in names:
            choice.select(name)

    def set_preset(self, preset: str) -> None:
        """Choose a preset."""
        self.query_one(f"#preset-{preset if preset in PRESETS else 'normal'}", RadioButton).value = True

    @property
    def names(self) -> list[str]:
        """What is ticked."""
        return list(self.query_one(SelectionList).selected)

    @property
    def preset(self) -> str:
        """The chosen preset."""
        index = self.query_one(RadioSet).pressed_index
        return PRESETS[index] if index >= 0 else "normal"
