"""Models: which there are, which fit this computer and why, fetching, choosing, unloading, removing."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, cast

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import DataTable, Static

from tokmem_desk.errors import BusyError, OfflineError, TokmemError
from tokmem_desk.models.catalogue import ADAPTED
from tokmem_desk.models.hardware_fit import Machine, look_at_machine
from tokmem_desk.models.speed_fit import kept
from tokmem_desk.models.store import ModelStore, not_adapted
from tui.engine_client.link import EngineState
from tui.kit.base import AppScreen
from tui.kit.confirm import ConfirmDialog
from tui.kit.error_dialogs import shows_errors
from tui.kit.key_gate import asks
from tui.kit.words import count, elapsed, size
from tui.models.dialogs import Change, ChangeModelDialog, ModelNameDialog
from tui.models.model_view import ModelDetails, ModelTable
from tui.models.moving import left_behind, minutes_to_learn
from tui.models.pull import ModelPull
from tui.models.rows import ModelRow, disk_words, find_row, model_rows
from tui.models.services import ModelServices

MIB = 2**20


class ModelsScreen(AppScreen):
    """The table of models, and the facts of the one under the cursor."""

    MODE = "models"
    CSS_PATH = "screen.tcss"
    AUTO_FOCUS = "ModelTable"
    LISTS = (ModelTable,)
    HELP_TEXT = (
        "The model that everything runs on: the backbone. ● is in use, ◉ is on this computer, ○ would be fetched "
        "first. A memory works on the model that it was trained on; with another one, procedures are trained anew. "
        "The adapted form of a model is one of its own in that respect, over the same files. "
        "Fetching can be paused and goes on later, also after the app was closed."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "pull", "Pull"),
        Binding("escape", "pause", "Pause"),
        Binding("l", "load", "Load"),
        Binding("o", "unload", "Unload"),
        Binding("a", "other", "Another"),
        Binding("d,delete", "remove", "Remove", key_display="d"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[ModelRow] = []
        self._machine: Machine | None = None
        self._loaded_mb = 0

    @property
    def tokmem(self) -> ModelServices:
        """The app, as far as this room uses it."""
        return cast(ModelServices, self.app)

    def body(self) -> ComposeResult:
        yield Static(id="machine")
        with Horizontal(id="both"):
            with Vertical(id="left"):
                yield ModelTable(id="models")
            with VerticalScroll(id="right", can_focus=False):
                yield ModelDetails()

    async def begin(self) -> None:
        """Draw the machine as soon as it is known."""
        self.query_one("#machine", Static).update(Content("Looking at this computer …"))
        self.tokmem.downloads.changed.subscribe(self, self._pull_news)

    # News from the app

    def on_screen_resume(self) -> None:
        """Draw again: memory and disk may have changed."""
        self._look()

    def on_engine_changed(self, state: EngineState) -> None:
        self._look()

    @work(group="look", exclusive=True, exit_on_error=False)
    async def _look(self) -> None:
        self._machine = await asyncio.to_thread(look_at_machine)
        await self._ask_engine()
        self._draw()

    def on_resize(self) -> None:
        """More columns where there is more room."""
        self.call_after_refresh(self._draw)

    def _pull_news(self, pull: ModelPull) -> None:
        if pull.running and self._rows:
            self._draw_details()
        else:
            self._draw()

    async def _ask_engine(self) -> None:
        """How much memory the loaded model takes, measured."""
        self._loaded_mb = 0
        if self.tokmem.link.state.phase != "ready" or self.tokmem.link.busy:
            return
        try:
            status: dict[str, Any] = await self.tokmem.link.client.submit("status").result()
        except TokmemError:
            return  # the engine has just ended; its state says so
        self._loaded_mb = int(status["memory_mb"])

    @property
    def _store(self) -> ModelStore:
        return ModelStore(self.tokmem.paths.models, offline=self.offline)

    @property
    def offline(self) -> bool:
        """Whether downloads are off."""
        return self.tokmem.settings.flag("offline")

    @shows_errors
    def _draw(self) -> None:
        if not self.is_mounted or self._machine is None:
            return
        machine, backbone = self._machine, self.tokmem.link.state.backbone
        on_cpu = self.tokmem.settings.text("device") == "cpu" or (backbone and backbone["device"] == "cpu")
        used = machine.without_gpu() if on_cpu else machine
        pull = self.tokmem.downloads.current
        pulled = None if pull is None or pull.state == "done" else pull.model
        measured = kept(self.tokmem.paths.cache)
        self._rows = model_rows(self._store, self.tokmem.model, used, self._loaded_mb * MIB, pulled, measured)
        self.query_one("#machine", Static).update(self._machine_words(machine))
        table = self.query_one(ModelTable)
        table.show(self._rows, pull, width=self.query_one("#left").size.width or self.app.size.width)
        self._draw_details()

    def _machine_words(self, machine: Machine) -> Content:
        state, settings = self.tokmem.link.state, self.tokmem.settings
        parts = [
            count(machine.cores, "core"),
            f"{size(machine.memory_bytes)} memory, {size(machine.free_bytes)} free",
            f"{machine.gpu}, {size(machine.gpu_free_bytes)} free" if machine.gpu else "no graphics card",
        ]
        lines = [Content.assemble(Content.styled("This computer  ", "bold $primary"), " · ".join(parts))]
        if state.phase == "ready" and state.backbone is not None:
            minutes = settings.whole("keep_alive_minutes")
            stays = f"stays {minutes} min after use" if minutes else "stays loaded"
            measured = f", {self._loaded_mb:,} MiB measured" if self._loaded_mb else ""
            words = f"on {state.backbone['device']} in {state.backbone['dtype']}{measured}; {stays}"
            reason = f" ({state.backbone['reason']})" if self.app.size.width >= 130 else ""
            lines.append(Content.assemble(Content.styled("Loaded         ", "bold $primary"), words + reason))
        elif state.phase == "failed" and state.error is not None:
            lines.append(Content.styled(f"! {state.error.message.splitlines()[0]}", "$text-error"))
        else:
            words = (
                f"{state.text}{elapsed(state.seconds)}"
                if state.phase == "loading"
                else "nothing; the next message loads the model"
            )
            lines.append(Content.assemble(Content.styled("Loaded         ", "bold $primary"), words))
        if self.offline:
            lines.append(
                Content.styled("Offline: nothing is fetched. What is on this computer stands first.", "$text-warning")
            )
        return Content("\n").join(lines)

    @shows_errors
    def _draw_details(self) -> None:
        row = self.selected
        details = self.query_one(ModelDetails)
        details.visible = row is not None
        if row is not None:
            newest = self.tokmem.downloads.current
            pull = newest if newest is not None and newest.model == row.id else None
            compact = self.app.size.width < 100
            details.show(row, pull, self.tokmem.link.state, offline=self.offline, compact=compact)
        self.refresh_bindings()

    @property
    def selected(self) -> ModelRow | None:
        """The model under the cursor."""
        return find_row(self._rows, self.query_one(ModelTable).selected_id)

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Show the model under the cursor."""
        self._draw_details()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer what can be done with the model under the cursor."""
        if not self.is_mounted:
            return True
        row, pull = self.selected, self.tokmem.downloads.current
        match action:
            case "pull":
                return row is not None and not row.ready and not row.lacks_adapter
            case "pause":
                return pull is not None and pull.state == "running"
            case "remove":
                here = row is not None and (row.ready or (row.stored is not None and bool(row.stored.damage)))
                return here or (row is not None and pull is not None and pull.model == row.id)
            case "load":
                return self.tokmem.link.state.phase in ("off", "failed")
            case "unload":
                return self.tokmem.link.state.phase == "ready"
        return True

    # What can be done

    @asks
    @work(group="use", exclusive=True, exit_on_error=False)
    async def action_use(self) -> None:
        """Work with the model under the cursor from now on."""
        row = self.selected
        if row is None:
            return
        if row.lacks_adapter:
            raise not_adapted(row.base)
        if not row.ready:
            await self._pull(row)
            return
        if self.tokmem.trainings.running:
            raise BusyError("A training runs on the present model.", next_step="Stop it first, or wait for its end.")
        if not row.in_use and not await self._agreed_to_size(row):
            return
        left = [] if row.in_use else left_behind(self.tokmem.store, self.tokmem.fingerprint, row.id)
        change = await self._ask_about(left, row) if left else "use"
        if change == "back":
            return
        if not row.in_use:
            found = self.tokmem.settings.set_where_it_counts("model", _settings_name(row))
            if found.value != _settings_name(row):
                self.notify(f"{found.source} says {found.value}, which wins.", severity="warning", markup=False)
                return
            await self.tokmem.engine.restart()
        self.tokmem.load_engine()
        if change == "learn":
            self.tokmem.train(left)
        self._draw()

    async def _ask_about(self, names: list[str], row: ModelRow) -> Change:
        """Ask what becomes of the procedures that a change of the model leaves behind."""
        present = next((one.title for one in self._rows if one.in_use), self.tokmem.model)
        minutes = minutes_to_learn(self.tokmem.store, names, row.speed)
        return await self.app.push_screen_wait(ChangeModelDialog(row.title, present, names, minutes))

    async def _agreed_to_size(self, row: ModelRow) -> bool:
        """Ask before a model that may not fit is loaded."""
        if row.fit is None or row.fit.verdict == "fits":
            return True
        room = f"{size(row.fit.free + row.fit.freed)} of {row.fit.place} are or would be free"
        question = ConfirmDialog(
            f"{row.title} is {row.fit.verdict}",
            f"It needs about {size(row.fit.need)}; {room}. {row.fit.words}",
            "Load anyway",
            "Back",
            danger=True,
        )
        return await self.app.push_screen_wait(question)

    @asks
    @work(group="pull-question", exclusive=True, exit_on_error=False)
    async def action_pull(self) -> None:
        """Fetch the model under the cursor, or go on with it."""
        row = self.selected
        if row is not None and not row.ready and not row.lacks_adapter:
            await self._pull(row)

    async def _pull(self, row: ModelRow) -> None:
        if self.offline:
            raise OfflineError(
                f"{row.title} is not on this computer, and downloads are off.",
                next_step="Turn 'offline' off in the settings (F9).",
            )
        pull = self.tokmem.downloads.current
        if pull is not None and pull.running:
            raise BusyError(f"{pull.title} is being fetched.", next_step="Wait for its end, or pause it with Esc.")
        if pull is None or pull.model != row.id or pull.state == "done":
            needed, free = disk_words(self.tokmem.paths.models, row.entry)
            question = ConfirmDialog(
                f"Fetch {row.title}?",
                _pull_question(row, needed, free),
                "Fetch",
                "Not now",
                danger=needed is not None and needed > free,
            )
            if not await self.app.push_screen_wait(question):
                return
        self.tokmem.downloads.fetch(row.id, row.title, row.download_bytes)

    @shows_errors
    async def action_pause(self) -> None:
        """Pause the download; what has arrived is kept."""
        pull = self.tokmem.downloads.current
        if pull is not None:
            await pull.pause()

    def action_load(self) -> None:
        """Load the model that is in use."""
        self.tokmem.load_engine()

    @shows_errors
    async def action_unload(self) -> None:
        """End the engine, which frees all its memory."""
        if self.tokmem.link.busy:
            raise BusyError("The model is at work.", next_step="Stop the answer or the training first.")
        before = self._loaded_mb
        await self.tokmem.link.unload()
        self.notify(f"Unloaded{f': {before:,} MiB are free again' if before else ''}. The next message loads it.")

    @asks
    @work(exit_on_error=False)
    async def action_other(self) -> None:
        """Use a model that the list does not know: a Hub id, a folder, a GGUF file."""
        wanted = await self.app.push_screen_wait(ModelNameDialog(self._store))
        if wanted is None:
            return
        source = self._store.resolve(wanted)
        row = find_row(self._rows, source.id)
        if row is not None:
            self.query_one(ModelTable).select(row.id)
            return
        named = str(source.path) if source.path is not None else source.id
        self.tokmem.downloads.fetch(named, source.id, None)
        self._draw()

    @asks
    @work(exit_on_error=False)
    async def action_remove(self) -> None:
        """Delete the model's files after asking; it can be fetched again. Of an adapted one, the adapter alone."""
        row = self.selected
        if row is None:
            return
        if row.adapted and row.ready:
            await self._remove_adapter(row)
            return
        pull = self.tokmem.downloads.current
        if pull is not None and pull.model == row.id and pull.running:
            raise BusyError(f"{row.title} is being fetched.", next_step="Pause it with Esc first.")
        # Its adapted form works with the same files.
        loaded = any(self._is_loaded(one) for one in self._rows if one.base == row.base)
        what = f"{size(row.disk_bytes)} are freed. " if row.disk_bytes else "What has arrived of it is deleted. "
        if row.stored is not None and row.stored.adapter == "made":
            what += "The adapter that was made for it on this computer goes too. "
        keep = "Procedures, pairs and memories stay; memories need this model again to work."
        question = ConfirmDialog(f"Remove {row.title}?", what + keep, "Remove", danger=True)
        if not await self.app.push_screen_wait(question):
            return
        if loaded:
            await self.tokmem.link.unload()
        freed = await asyncio.to_thread(self._store.remove, row.id)
        if pull is not None and pull.model == row.id:
            self.tokmem.downloads.forget()
        self._draw()
        self.notify(f"Removed {row.title}: {size(freed)} freed.", markup=False)

    async def _remove_adapter(self, row: ModelRow) -> None:
        """Delete an adapter that was made here, after asking; one that ships is refused."""
        loaded = self._is_loaded(row)
        if row.stored is not None and row.stored.adapter == "made":
            question = ConfirmDialog(
                f"Remove the adapter of {row.base}?",
                "The model stays. Memories trained with this adapter work again only if it is made anew in the same "
                f"way, which takes a while: tokmem-desk adapt --model {row.base}",
                "Remove",
                danger=True,
            )
            if not await self.app.push_screen_wait(question):
                return
        freed = await asyncio.to_thread(self._store.remove_adapter, row.id)
        if loaded:
            await self.tokmem.link.unload()
        self._draw()
        self.notify(f"Removed the adapter of {row.base}: {size(freed)} freed.", markup=False)

    def _is_loaded(self, row: ModelRow) -> bool:
        """Whether the engine holds this model.

        Raises:
            BusyError: it does, and is at work.
        """
        loaded = row.in_use and self.tokmem.link.state.phase in ("ready", "loading")
        if loaded and self.tokmem.link.busy:
            raise BusyError(f"{row.title} is at work.", next_step="Stop the answer or the training first.")
        return loaded


def _settings_name(row: ModelRow) -> str:
    """How the settings name a model: its id, or what a local one was made from; and whether it is the adapted form."""
    if row.entry is None and row.stored is not None and row.stored.record is not None:
        kind, _, place = row.stored.record.source.partition(": ")
        if kind in ("folder", "gguf"):
            return place + (ADAPTED if row.adapted else "")
    return row.id


def _pull_question(row: ModelRow, needed: int | None, free: int) -> str:
    """Size, licence, disk and memory, before anything is fetched."""
    parts = [
        f"Download: {size(row.download_bytes)}." if row.download_bytes else "Its size is told by the Hub.",
        f"Licence: {row.licence}"
        + (f", {row.entry.licence_url}" if row.entry is not None and row.entry.licence_url else "")
        + ".",
        f"Disk: about {size(needed)} while it is prepared, {size(free)} are free."
        if needed is not None
        else f"Disk: {size(free)} are free.",
    ]
    if needed is not None and needed > free:
        parts.append("That is not enough: free some space first.")
    if row.fit is not None:
        parts.append(f"Memory: {size(row.fit.need)} needed, {size(row.fit.free + row.fit.freed)} free. {row.fit.words}")
    if row.entry is not None and row.entry.gated:
        parts.append("Its publisher asks for an account that accepted the licence: run  hf auth login  first.")
    return "\n".join(parts)
