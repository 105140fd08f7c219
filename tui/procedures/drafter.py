"""Which model writes drafts: the largest on this computer that fits beside the one in use, else the one in use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tokmem_desk.errors import TokmemError
from tokmem_desk.models.catalogue import find_entry
from tokmem_desk.models.hardware_fit import look_at_machine
from tokmem_desk.models.store import ModelStore
from tui.engine_client.link import EngineLink, EngineState
from tui.procedures.services import ProcedureServices
from tui.shared.drafting_model import larger_than


@dataclass(slots=True)
class Drafter:
    """A model that writes drafts.

    Attributes:
        link: to its engine.
        title: its name for people; empty where it is the model in use.
        changed: called after each change of its engine's state; whoever shows that sets it.
    """

    link: EngineLink
    title: str = ""
    changed: Callable[[], object] = lambda: None

    @property
    def words(self) -> str:
        """Who writes, as a sentence; empty where it is the model in use."""
        return f"Written by {self.title}, the largest model here that fits." if self.title else ""

    @property
    def starting(self) -> str:
        """How far a model of its own is; empty once it writes."""
        state = self.link.state
        return f"{self.title}: {state.text}…" if self.title and state.phase == "loading" else ""


@asynccontextmanager
async def drafter(app: ProcedureServices) -> AsyncIterator[Drafter]:
    """The model that writes; an engine of its own ends with the block.

    Raises:
        TokmemError: an engine of its own cannot be made.
    """
    model = await asyncio.to_thread(_other_model, app)
    if model is None:
        yield Drafter(app.link)
        return
    made: list[Drafter] = []

    def changed(_: EngineState) -> None:
        for one in made:
            one.changed()

    entry = find_entry(model)
    made.append(Drafter(app.engine_beside(model, changed), model if entry is None else entry.title))
    try:
        yield made[0]
    finally:
        await made[0].link.client.close()


def _other_model(app: ProcedureServices) -> str | None:
    """The id of a larger model that is there; None where there is none, or where that cannot be told."""
    store = ModelStore(app.paths.models)
    try:
        return larger_than(store.resolve(app.model).id, store.list(), look_at_machine())
    except TokmemError:  # a model in use that is no longer there is told elsewhere
        return None
