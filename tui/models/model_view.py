"""The table of models, and one model's facts with the sum of its memory. Both draw only what they are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.coordinate import Coordinate
from textual.widgets import DataTable, Static

from tokmem_desk.models.catalogue import ADAPTED_NOTE, CatalogueEntry
from tokmem_desk.models.expectations import expectation
from tokmem_desk.models.hardware_fit import Fit
from tokmem_desk.models.speed_fit import in_words
from tui.engine_client.link import EngineState
from tui.kit.bar import bar
from tui.kit.keys import keyed
from tui.kit.words import parameters, size
from tui.models.pull import ModelPull
from tui.models.rows import ModelRow

ADAPTERS = {"made": "made on this computer", "shipped": "comes with the program"}
VERDICT_SIGNS = {"fits": "✓", "tight": "~", "too big": "✗"}
VERDICT_COLOURS = {"fits": "$text-success", "tight": "$text-warning", "too big": "$text-error"}


@keyed("models")
class ModelTable(DataTable[Text]):
    """A row per model, its id as the row's key."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,u", "screen.use", "Use", key_display="⏎"),
        Binding("k", "cursor_up", show=False),
        Binding("j", "cursor_down", show=False),
    ]

    DEFAULT_CSS = """
    ModelTable { height: 1fr; background: transparent; scrollbar-size-horizontal: 0; }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row", cell_padding=1)

    def show(self, rows: Sequence[ModelRow], pull: ModelPull | None, *, width: int) -> None:
        """Draw the rows; the cursor stays on its model.

        Args:
            rows: what to show.
            pull: the newest download.
            width: cells that the table has.
        """
        selected, at = self.selected_id, self.cursor_row
        wide = width >= 92
        name_width = max(22, min(34, width - (70 if wide else 46)))
        self.clear(columns=True)
        self.add_column(Text(" "), key="sign", width=1)
        self.add_column(Text("Model"), key="name", width=name_width)
        if wide:
            self.add_column(Text("Licence"), key="licence", width=20)
        self.add_column(Text("Disk", justify="right"), key="disk", width=8)
        self.add_column(Text("Memory", justify="right"), key="memory", width=8)
        self.add_column(Text("Fits here"), key="fit", width=14)
        for row in rows:
            self.add_row(*_cells(row, pull, wide), key=row.id)
        ids = [row.id for row in rows]
        target = ids.index(selected) if selected in ids else min(at, len(ids) - 1)
        if target >= 0:
            self.move_cursor(row=target)

    @property
    def selected_id(self) -> str | None:
        """The model under the cursor."""
        if not self.row_count or not self.is_valid_row_index(self.cursor_row):
            return None
        return self.coordinate_to_cell_key(Coordinate(self.cursor_row, 0)).row_key.value

    def select(self, model_id: str) -> None:
        """Put the cursor on a model that is in the list."""
        if model_id in self.rows:
            self.move_cursor(row=self.get_row_index(model_id))


class ModelDetails(Static):
    """Everything about one model."""

    DEFAULT_CSS = """
    ModelDetails { height: auto; }
    """

    def show(self, row: ModelRow, pull: ModelPull | None, state: EngineState, *, offline: bool, compact: bool) -> None:
        """Draw.

        Args:
            row: the model.
            pull: its download, where there is or was one.
            state: of the engine.
            offline: downloads are off.
            compact: there is room for some eight lines only.
        """
        if compact:
            self.update(Content("\n").join(_in_short(row, pull, state, offline=offline)))
            return
        lines = [Content.styled(row.title, "bold $primary")]
        if row.id != row.title:
            lines.append(Content.styled(row.id, "$muted"))
        lines += [_state_line(row, pull, state, offline=offline), *_pull_lines(pull), Content("")]
        lines += _facts(row)
        lines += [Content(""), Content.styled("Memory", "bold $primary"), *_sum(row.fit, row.in_use)]
        note = ADAPTED_NOTE if row.adapted else row.entry.note if row.entry is not None else ""
        if note:
            lines += [Content(""), Content(note)]
        self.update(Content("\n").join(lines))


def _cells(row: ModelRow, pull: ModelPull | None, wide: bool) -> list[Text]:
    pulling = pull is not None and pull.model == row.id and pull.state in ("running", "pausing")
    sign = "↓" if pulling else "●" if row.in_use else "◉" if row.ready else "○"
    # Below its model, whose name need not stand there twice.
    title = "└ for research" if row.adapted else row.title
    cells = [Text(sign), Text(title, style="bold" if row.ready else "", no_wrap=True, overflow="ellipsis")]
    if wide:
        cells.append(Text(row.licence.split(" (")[0], no_wrap=True, overflow="ellipsis"))
    cells.append(Text(size(row.disk_bytes), justify="right"))
    cells.append(Text("-" if row.fit is None else size(row.fit.need), justify="right"))
    words = "not known" if row.fit is None else f"{VERDICT_SIGNS[row.fit.verdict]} {row.fit.verdict}"
    cells.append(Text(words))
    return cells


def _state_line(row: ModelRow, pull: ModelPull | None, state: EngineState, *, offline: bool) -> Content:
    if pull is not None and pull.state != "done":
        return Content.styled(f"↓ {pull.words}", "$accent")
    if row.stored is not None and row.stored.damage:
        return Content.styled(f"! damaged: {row.stored.damage}; p fetches or converts it again", "$text-error")
    if row.in_use and state.phase == "ready":
        return Content.styled("● in use and loaded", "$text-success")
    if row.in_use and state.phase == "loading":
        return Content.styled(f"● in use; {state.text}", "$accent")
    if row.lacks_adapter:
        return Content.styled(f"! chosen, but not adapted yet: tokmem-desk adapt --model {row.base}", "$text-warning")
    if row.in_use:
        return Content("● in use, not loaded now" if row.ready else "● chosen, but not on this computer yet")
    if row.ready:
        return Content("◉ on this computer")
    return Content("○ not on this computer" + ("; offline, so it cannot be fetched" if offline else ""))


def _pull_lines(pull: ModelPull | None) -> list[Content]:
    if pull is None or pull.state == "done":
        return []
    lines = [bar(pull.fraction or 0.0)]
    if pull.error is not None:
        lines += [
            Content.styled(f"! {pull.error.message}", "$text-error"),
            Content(f"→ {pull.error.next_step}" if pull.error.next_step else ""),
        ]
    elif pull.detail and pull.running:
        lines.append(Content.styled(pull.detail, "$muted"))
    return lines


def _facts(row: ModelRow) -> list[Content]:
    facts = [("licence", row.licence + (" · ask on the Hub first" if row.entry and row.entry.gated else ""))]
    if row.entry is not None:
        facts += [
            ("", row.entry.licence_url),
            ("parameters", parameters(row.entry.parameters)),
            ("download", size(row.entry.download_bytes)),
        ]
        facts += expected_of(row.entry)
    if row.speed is not None:
        facts.append(("here", in_words(row.speed)))
    if row.adapted and row.ready and row.stored is not None:
        facts += [("adapter", ADAPTERS[row.stored.adapter]), ("weights", f"those of {row.base}, shared")]
    elif row.stored is not None and row.stored.record is not None:
        record = row.stored.record
        share = "" if record.quantised_share is None else f", {record.quantised_share:.0%} of them in 4 bit"
        facts += [("on disk", size(record.size)), ("weights", record.quantisation + share)]
    return [Content.assemble(Content.styled(f"{name:<11}", "$muted"), value) for name, value in facts if value]


def expected_of(entry: CatalogueEntry) -> list[tuple[str, str]]:
    """What its chat and its procedures will be like."""
    expected = expectation(entry.parameters, made_for_chat=entry.chat)
    return [("chat", expected.chat), ("procedures", expected.procedures)]


def _sum(found: Fit | None, in_use: bool) -> list[Content]:
    if found is None:
        return [Content("Not known before it is fetched.")]
    lines = [
        _figure("weights", found.weights),
        _figure("chat and training", found.working),
        _figure("together", found.need, "bold"),
        _figure("free now", found.free),
    ]
    if found.freed:
        lines.append(_figure("it has already" if in_use else "unloading frees", found.freed))
    share = found.need / max(1, found.free + found.freed)
    return [*lines, bar(min(1.0, share), VERDICT_COLOURS[found.verdict]), _verdict(found)]


def _verdict(found: Fit) -> Content:
    sign, colour = VERDICT_SIGNS[found.verdict], VERDICT_COLOURS[found.verdict]
    return Content.assemble(Content.styled(f"{sign} {found.verdict}. ", f"bold {colour}"), found.words)


def _in_short(row: ModelRow, pull: ModelPull | None, state: EngineState, *, offline: bool) -> list[Content]:
    """The same in few lines: state, licence, the sum, the verdict."""
    lines = [
        Content.assemble(Content.styled(row.title, "bold $primary"), Content.styled(f"  {row.id}", "$muted")),
        _state_line(row, pull, state, offline=offline),
    ]
    if pull is not None and pull.error is not None:
        return [*lines, *_pull_lines(pull)[1:]]
    gate = " · ask on the Hub first" if row.entry is not None and row.entry.gated else ""
    lines.append(Content(f"Licence {row.licence}{gate}"))
    if row.adapted and row.ready and row.stored is not None:
        lines += [Content(ADAPTED_NOTE), Content(f"Adapter: {ADAPTERS[row.stored.adapter]}; weights shared")]
    elif row.entry is not None:
        lines.append(Content(f"Download {size(row.download_bytes)} · on disk {size(row.disk_bytes)}"))
        lines.append(Content(f"Chat: {expectation(row.entry.parameters, made_for_chat=row.entry.chat).chat}"))
    else:
        lines.append(Content(f"On disk {size(row.disk_bytes)}"))
    found = row.fit
    if found is None:
        return [*lines, Content("Its memory is not known before it is fetched.")]
    freed = "" if not found.freed else f" + {size(found.freed)} {'it has already' if row.in_use else 'by unloading'}"
    lines.append(Content(f"Memory {size(found.weights)} weights + {size(found.working)} to work = {size(found.need)}"))
    return [*lines, Content(f"Free {size(found.free)}{freed}"), _verdict(found)]


def _figure(name: str, amount: int, style: str = "") -> Content:
    return Content.assemble(Content.styled(f"{name:<20}", "$muted"), Content.styled(f"{size(amount):>10}", style))
