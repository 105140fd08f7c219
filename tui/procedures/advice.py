"""What seems odd about the pairs of the procedure under the cursor, and which other procedures it overlaps.

Both checks take a moment where there are many pairs. So they run in the background, once nothing has changed for a
while. Until then the last result is shown.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import cast

from textual import log
from textual.timer import Timer

from profiles.pair_files.lint import Finding, lint_pairs
from profiles.store.pairs import PairList
from tokmem_desk.errors import TokmemError
from tokmem_desk.templates.learned_schema import field_words, learned_schema
from tui.engine_client.protocol import Overlap
from tui.procedures.host import ProceduresHost
from tui.shared.overview import ProcedureLine

OVERLAP_AFTER_SECONDS = 1.5
"""How long nothing may have changed before the engine looks for overlaps, so that it never slows down writing."""

LINT_AFTER_SECONDS = 1.0
"""How long nothing may have changed before many pairs are checked."""
LINTED_AT_ONCE = 500
"""Up to this many pairs are checked at every change, without waiting."""


class PairLinter:
    """Finds duplicates, contradictions and the like among the pairs of one procedure.

    Args:
        host: the screen.
    """

    def __init__(self, host: ProceduresHost) -> None:
        self._host = host
        self._key: tuple[str, int, int] | None = None
        """Profile, procedure and revision that the findings are of."""
        self._pairs = PairList()
        self._findings: list[Finding] = []
        self._notes: dict[int, list[str]] = {}
        self._timer: Timer | None = None

    def check(self, line: ProcedureLine, pairs: PairList) -> tuple[list[Finding], dict[int, list[str]]]:
        """What is known now about these pairs. The panel is drawn again when more is known.

        Args:
            line: the procedure.
            pairs: all its pairs, those to learn from first.

        Returns:
            The findings, and their texts by the ids of the pairs.
        """
        app = self._host.tokmem
        key = (app.profile, line.record.id, app.store.revision)
        self._pairs = pairs
        if self._key != key:
            self._stop_timer()
            if len(pairs) <= LINTED_AT_ONCE:
                self._keep(key, _lint(line, pairs))
            else:
                check = partial(self._check_many, key, line, pairs)
                start = partial(self._host.in_background, check, group="lint", exclusive=True)
                self._timer = self._host.set_timer(LINT_AFTER_SECONDS, start)
        if self._key is None or self._key[:2] != key[:2]:  # they are of another procedure
            return [], {}
        return self._findings, self._notes

    async def _check_many(self, key: tuple[str, int, int], line: ProcedureLine, pairs: PairList) -> None:
        result = await asyncio.to_thread(_lint, line, pairs)
        if self._host.is_mounted and self._pairs is pairs:
            self._keep(key, result)
            self._host.draw_panel()

    def _keep(self, key: tuple[str, int, int], result: tuple[list[Finding], dict[int, list[str]]]) -> None:
        self._key = key
        self._findings, self._notes = result

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer = None


class OverlapAdvisor:
    """Asks the engine which other procedures would answer messages of the one under the cursor, and the reverse.

    Args:
        host: the screen.
    """

    def __init__(self, host: ProceduresHost) -> None:
        self._host = host
        self._known: dict[int, tuple[object, Overlap | None]] = {}
        """By the id of the procedure: the state that was looked at, and the result; None where it failed."""
        self._timer: Timer | None = None

    @property
    def overlap(self) -> Overlap | None:
        """Of the procedure under the cursor, as far as it is known."""
        line = self._host.selected
        if line is None:
            return None
        state, overlap = self._known.get(line.record.id, (None, None))
        return overlap if state == self._state(line) else None

    def plan(self) -> None:
        """Ask once nothing has changed for a while, if there is something to overlap with."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        line, app = self._host.selected, self._host.tokmem
        if line is None or not line.record.pair_count or app.link.state.phase != "ready":
            return
        others = any(
            other.memory is not None and other.record.enabled and other is not line for other in self._host.lines
        )
        known_state, _ = self._known.get(line.record.id, (None, None))
        if others and not app.trainings.running and known_state != self._state(line):
            start = partial(self._host.in_background, self._look, group="overlap", exclusive=True)
            self._timer = self._host.set_timer(OVERLAP_AFTER_SECONDS, start)

    def _state(self, line: ProcedureLine) -> object:
        """Changes whenever the overlap may be another one."""
        lines = self._host.lines
        answering = frozenset(other.memory.id for other in lines if other.memory is not None and other.record.enabled)
        own = line.memory.id if line.memory is not None else ""
        return self._host.tokmem.profile, line.record.version, answering - {own}

    async def _look(self) -> None:
        line, app = self._host.selected, self._host.tokmem
        if line is None:
            return
        state, overlap = self._state(line), None
        try:
            async for event in app.link.events(app.link.submit("overlap", profile=app.profile, name=line.record.name)):
                if event["event"] == "done":
                    overlap = cast(Overlap, event["result"])
        except TokmemError as caught:
            # The person did not ask for this look, so no dialog. The threshold dialog (w) shows what is wrong.
            log(f"no overlap: {caught}")
        self._known[line.record.id] = (state, overlap)
        if overlap is not None and self._host.is_mounted:
            self._host.draw_panel()


def _lint(line: ProcedureLine, pairs: PairList) -> tuple[list[Finding], dict[int, list[str]]]:
    """The findings about the pairs to learn from, and their texts by the ids of the pairs."""
    train = pairs[: line.record.pair_count]
    if not train:
        return [], {}
    texts = [record.pair for record in train]
    findings = lint_pairs(texts, output_schema=line.record.output_schema)
    schema = learned_schema(texts) if line.record.output_schema is None else None
    if schema is not None:
        words = f"Its answers have the fields {field_words(schema.document)}: o can hold them to that."
        findings.append(Finding("schema", (), words))
    notes: dict[int, list[str]] = {}
    for finding in findings:
        for place in finding.pairs:
            notes.setdefault(train[place].id, []).append(finding.text)
    return findings, notes
