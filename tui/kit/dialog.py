"""The base of all dialogs: a box in the middle of the screen with a title; Esc closes it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen, ScreenResultType
from textual.widget import Widget
from textual.widgets import Button, Checkbox, Input, RadioSet, Select, SelectionList, Static, TextArea
from textual.worker import Worker

from tui.kit.keys import name_bindings
from tui.kit.services import services


class Dialog(ModalScreen[ScreenResultType]):
    """See the module. Subclasses compose ``body``.

    Args:
        title: on the upper edge of the box.
    """

    CSS_PATH = Path(__file__).with_name("dialog.tcss")  # whole, since Textual looks beside the file of the subclass
    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-tall")]  # declared without ClassVar in Textual
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Close")]

    def __init_subclass__(cls, **options: Any) -> None:
        """Give the bindings of each dialog the ids that ``[keys]`` of the settings uses."""
        name_bindings(cls, "dialog")
        super().__init_subclass__(**options)

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title
        self._faulty: list[object] = []
        """What the fields held when the fault line was filled."""

    def compose(self) -> ComposeResult:
        box = Vertical(classes="dialog")
        box.border_title = Content(self._title).markup
        with box:
            yield from self.body()

    @abstractmethod
    def body(self) -> ComposeResult:
        """Compose the widgets in the box."""

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Show errors of this dialog's workers as those of the app's workers.

        Textual calls the handler of a subclass first, then this one. A subclass that shows errors itself prevents this
        with ``event.prevent_default()``.
        """
        services(self).on_worker_state_changed(event)

    def say_fault(self, text: str, focus: str = "") -> None:
        """Say in the fault line what is wrong with what was typed. It goes as soon as a field is changed.

        Args:
            text: an empty one hides the line.
            focus: selector of the field that should have the focus then.
        """
        line = self.query_one("#fault", Static)
        line.update(Content(text))
        line.set_class(bool(text), "-shown")
        self._faulty = self._typed
        if focus:
            self.query_one(focus).focus()

    @on(Input.Changed)
    @on(TextArea.Changed)
    @on(Select.Changed)
    @on(Checkbox.Changed)
    @on(RadioSet.Changed)
    @on(SelectionList.SelectedChanged)
    def _hide_old_fault(self) -> None:
        """Hide what was wrong with another text. Fields also say so late, of what they held before the fault."""
        if self.query("#fault.-shown") and self._typed != self._faulty:
            self.say_fault("")

    @property
    def _typed(self) -> list[object]:
        """What all fields hold."""
        kinds: dict[type[Widget], Callable[[Any], object]] = {
            Input: lambda field: field.value,
            TextArea: lambda field: field.text,
            Select: lambda field: field.value,
            Checkbox: lambda field: field.value,
            RadioSet: lambda field: field.pressed_index,
            SelectionList: lambda field: tuple(field.selected),
        }
        return [value(field) for kind, value in kinds.items() for field in self.query(kind)]

    def action_leave(self) -> None:
        """Close the dialog without an answer."""
        self.dismiss(None)

    @property
    def leaves_for_screens(self) -> bool:
        """Whether a key that goes to a screen closes it. What can hold a typed text stays, for when one is back."""
        return not self.query(Input) and not self.query(TextArea)

    def may_quit(self) -> bool:
        """Hook: whether the app may end while this is shown. A dialog that refuses says why, and not twice."""
        return True


class SaveDialog(Dialog[ScreenResultType]):
    """A dialog with a button ``cancel`` and one that saves. Ctrl+S saves.

    Enter goes to the next field; in the last one it saves.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+s", "save", "Save", priority=True)]

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go to the next field, or save."""
        fields = [field for field in self.query(Input) if field.display]
        later = fields[fields.index(event.input) + 1 :]
        if later:
            later[0].focus()
        else:
            self.action_save()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Save or leave."""
        if event.button.id == "cancel":
            self.dismiss(None)
        else:
            self.action_save()

    @abstractmethod
    def action_save(self) -> None:
        """Close the dialog with what was typed, or say what is wrong with it."""


def fault_line() -> Static:
    """The line that ``Dialog.say_fault`` fills; hidden until then."""
    return Static("", id="fault", classes="inline-error", markup=False)


def buttons(*choices: tuple[str, str], primary: str = "", danger: str = "") -> Horizontal:
    """A row of buttons.

    Args:
        choices: id and label of each.
        primary: id of the one that Enter should mean.
        danger: id of one that destroys something.
    """
    row = []
    for key, label in choices:
        button = Button(Content(label), id=key, compact=True)
        button.variant = "primary" if key == primary else "error" if key == danger else "default"
        row.append(button)
    return Horizontal(*row, classes="buttons")


def paragraph(text: str, *, id: str | None = None, classes: str = "") -> Static:
    """A text of any origin, wrapped, without markup."""
    return Static(Content(text), id=id, classes=f"paragraph {classes}".strip())
