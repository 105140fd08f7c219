"""What the Procedures screen asks of the app beyond what every room does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Protocol

from tui.engine_client.link import EngineLink, EngineState
from tui.kit.services import AppServices


class ProcedureServices(AppServices, Protocol):
    """The app, as the Procedures screen sees it."""

    def engine_beside(self, model: str, changed: Callable[[EngineState], None]) -> EngineLink:
        """The way to an engine for another model, beside the app's own. Whoever asked for it closes its client.

        Args:
            model: as the settings would name it.
            changed: called after each change of its state.

        Raises:
            TokmemError: there can be none.
        """
        ...

    def improve(self, names: Sequence[str]) -> None:
        """Queue the improvement of memories from verdicts on their answers, and show that.

        Args:
            names: of the procedures.
        """
        ...

    async def import_memories(
        self, path: Path, taken: Collection[str], changed: Callable[[str | None], object]
    ) -> None:
        """Take the memories of a bank in, after a look at what is in the file.

        Args:
            path: the file or folder.
            taken: names of the profile's procedures.
            changed: called once they are there, with the first one's name.

        Raises:
            TokmemError: nothing was imported.
        """
        ...

    async def export_memories(self, selected: str, trained: Sequence[str]) -> None:
        """Write memories into a bank for somebody else, as the person wishes.

        Args:
            selected: the procedure under the cursor.
            trained: names that can be exported.

        Raises:
            TokmemError: nothing was written.
        """
        ...
