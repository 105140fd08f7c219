"""What the parts of the Procedures screen ask of the screen they belong to.

The screen draws and owns the cursor. Each part does one job and keeps its own state: ``editing`` changes procedures,
``pair_editing`` changes pairs, ``pair_sources`` brings pairs in, ``advice`` looks for what seems odd.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from textual.timer import Timer

from tui.kit.host import ScreenHost
from tui.procedures.services import ProcedureServices
from tui.shared.overview import ProcedureLine


class ProceduresHost(ScreenHost, Protocol):
    """The screen, as its parts see it."""

    @property
    def tokmem(self) -> ProcedureServices:
        """The app, as far as this room uses it."""
        ...

    @property
    def is_mounted(self) -> bool:
        """Whether the screen can draw."""
        ...

    @property
    def lines(self) -> Sequence[ProcedureLine]:
        """All procedures of the profile."""
        ...

    @property
    def names(self) -> set[str]:
        """The names of all procedures."""
        ...

    @property
    def selected(self) -> ProcedureLine | None:
        """The procedure under the cursor."""
        ...

    def changed(self, name: str | None = None) -> None:
        """Tell the app that the profile was changed here, and draw it.

        Args:
            name: the procedure to go to.
        """
        ...

    def draw_panel(self) -> None:
        """Draw the pairs of the procedure under the cursor."""
        ...

    def set_timer(self, delay: float, callback: Callable[[], object]) -> Timer:
        """Call ``callback`` once, after ``delay`` seconds."""
        ...
