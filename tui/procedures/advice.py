"""What is said about the pairs of the procedure under the cursor: what seems odd, and what other procedures overlap.

Both take a moment where there are many pairs, so both are looked for once nothing has changed for a while, off the
thread that draws; what was found before is shown until then.
"""

from __future__ import annotations

import asyncio
from typing import cast

from textual import work
from textual.timer import Timer

from profiles.pair_files.lint import Finding, lint_pairs
from profiles.store.pairs import PairList
from tokmem_desk.errors import TokmemError
from tui.engine_client.protocol import Overlap
from tui.procedures.actions import ProcedureActions
from tui.procedures.pair_panel import Advice
from tui.shared.overview import ProcedureLine

OVERLAP_AFTER_SECONDS = 1.5
"""How long nothing may have changed before the engine looks for overlaps, so that it never hampers writing."""

LINT_AFTER_SECONDS = 1.0
LINTED_AT_ONCE = 500
"""Up to so many pairs are looked at with every change."""


class ProcedureAdvice(ProcedureActions):
    """See the module. The screen draws in ``draw_panel``."""

    def __init__(self) -> None:
        super().__init__()
        self._pairs: tuple[object, PairList] = (None, PairList())
        self._findings: tuple[object, list[Finding], dict[int, list[str]]] = (None, [], {})
        self._lint_timer: Timer | None = None
        self._overlaps: dict[int, tuple[object, Overlap | None]] = {}
        self._overlap_timer: Timer | None = None

    def draw_panel(self) -> None:
        """Draw the pairs of the procedure under the cursor."""
        raise NotImplementedError

    def pairs_of(self, line: ProcedureLine) -> PairList:
        """Its pairs, read once for each state of the profile."""
        key = (self.tokmem.profile, line.record.id, self.tokmem.store.revision)
        if self._pairs[0] != key:
            self._pairs = (key, self.tokmem.store.pairs.table(line.record.name))
        return self._pairs[1]

    def advice(self, line: ProcedureLine, pairs: PairList) -> Advice:
        """What is known by now; more may come, and is drawn then."""
        if self._findings[0] != self._lint_key(line):
            if self._lint_timer is not None:
                self._lint_timer.stop()
                self._lint_timer = None
            if len(pairs) <= LINTED_AT_ONCE:
                self._findings = (self._lint_key(line), *_linted(line, pairs))
            else:
                self._lint_timer = self.set_timer(LINT_AFTER_SECONDS, lambda: self._lint(line, pairs))
        found, notes = self._findings[1:] if self._findings_are_of(line) else ([], {})
        self._plan_overlap()
        return Advice(found, notes, self.overlap)

    # What seems odd

    def _lint_key(self, line: ProcedureLine) -> tuple[object, ...]:
        return self.tokmem.profile, line.record.id, self._pairs[0]

    def _findings_are_of(self, line: ProcedureLine) -> bool:
        """Whether what was found is about this procedure, if in an earlier state."""
        key = self._findings[0]
        return isinstance(key, tuple) and key[:2] == (self.tokmem.profile, line.record.id)

    @work(exclusive=True, group="lint", exit_on_error=False)
    async def _lint(self, line: ProcedureLine, pairs: PairList) -> None:
        key = self._lint_key(line)
        found = await asyncio.to_thread(_linted, line, pairs)
        if self.is_mounted and self._pairs[1] is pairs:
            self._findings = (key, *found)
            self.draw_panel()

    # Overlap with other procedures

    @property
    def overlap(self) -> Overlap | None:
        line = self.selected
        found = None if line is None else self._overlaps.get(line.record.id)
        return found[1] if line is not None and found is not None and found[0] == self._overlap_key(line) else None

    def _overlap_key(self, line: ProcedureLine) -> object:
        """Changes whenever another look is worth it."""
        answering = frozenset(one.memory.id for one in self.lines if one.memory is not None and one.record.enabled)
        return self.tokmem.profile, line.record.version, answering - {line.memory.id if line.memory is not None else ""}

    def _plan_overlap(self) -> None:
        """Look once nothing has changed for a while, where there is something to overlap with."""
        if self._overlap_timer is not None:
            self._overlap_timer.stop()
            self._overlap_timer = None
        line = self.selected
        if line is None or not line.record.pair_count or self.tokmem.link.state.phase != "ready":
            return
        others = any(one.memory is not None and one.record.enabled and one is not line for one in self.lines)
        known = self._overlaps.get(line.record.id)
        if others and not self.tokmem.trainings.running and (known is None or known[0] != self._overlap_key(line)):
            self._overlap_timer = self.set_timer(OVERLAP_AFTER_SECONDS, self._look_for_overlap)

    @work(exclusive=True, group="overlap", exit_on_error=False)
    async def _look_for_overlap(self) -> None:
        line = self.selected
        if line is None:
            return
        app, key, found = self.tokmem, self._overlap_key(line), None
        try:
            async for event in app.link.events(app.link.submit("overlap", profile=app.profile, name=line.record.name)):
                if event["event"] == "done":
                    found = cast(Overlap, event["result"])
        except TokmemError as caught:
            # Nobody asked for this look; whoever does (w) is told what is wrong.
            self.app.log(f"no overlap: {caught}")
        self._overlaps[line.record.id] = (key, found)
        if found is not None and self.is_mounted:
            self.draw_panel()


def _linted(line: ProcedureLine, pairs: PairList) -> tuple[list[Finding], dict[int, list[str]]]:
    """What seems odd about the train pairs, and the same by the ids of the pairs."""
    train = pairs[: line.record.pair_count]
    if not train:
        return [], {}
    found = lint_pairs([record.pair for record in train], output_schema=line.record.output_schema)
    notes: dict[int, list[str]] = {}
    for finding in found:
        for place in finding.pairs:
            notes.setdefault(train[place].id, []).append(finding.text)
    return found, notes
