"""Plans: which procedures are some, their steps under present names, and what came of each run.

A run is kept from before its first step, and each outcome before the next step begins. So what was done stands whatever
ends the program, and nothing is done twice: going on needs the lock of the run, and looks at what is there.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from profiles.database.connection import Database
from profiles.files.process_locks import SUFFIX, process_lock
from profiles.store.base import JsonObject, now, storable
from profiles.store.procedures import ProcedureRecord, Procedures
from profiles.store.scrubbing import owe_scrub
from profiles.store.table import JSON_OBJECT, Table
from tokmem_desk.errors import BadInputError, BusyError, ConflictError, NotFoundError, did_you_mean
from tokmem_desk.plans.steps import Block, circle_in, procedures_of, read_steps, with_names, write_steps
from tokmem_desk.procedures import NONE_ROUTE

RunStatus = Literal["running", "waiting", "done", "stopped", "failed"]
OPEN: tuple[RunStatus, ...] = ("running", "waiting")
"""A run that can go on. One that is ``running`` while no process holds its lock was broken off."""

KEPT_RUNS = 200
"""Ended runs that are kept; older ones go."""


@dataclass(frozen=True, slots=True)
class PlanRun:
    """What came of one run of a plan."""

    id: int
    key: str
    """Names its lock."""
    plan: str
    message: str
    question_id: int | None
    task: Annotated[JsonObject, JSON_OBJECT]
    answers: Annotated[JsonObject, JSON_OBJECT]
    status: RunStatus
    words: str
    """Why it waits, or how it ended, where that needs words."""
    created: str
    updated: str

    @property
    def is_open(self) -> bool:
        """Whether it can go on."""
        return self.status in OPEN


PLAN_RUNS = Table("plan_runs", PlanRun)


class Plans:
    """Keeps the steps of plans and what came of them.

    Args:
        database: the profile's.
        procedures: of the profile.
        memories: their folder; the locks of runs lie beside it.
    """

    def __init__(self, database: Database, procedures: Procedures, memories: Path) -> None:
        self._database, self._procedures, self._memories = database, procedures, memories

    # Which procedures are plans

    def set_steps(self, name: str, steps: str | None) -> ProcedureRecord:
        """Make a procedure a plan with these steps; empty: its answers are its steps; None: it is no plan any more.

        Raises:
            NotFoundError: there is no such procedure, or the steps name one that is not there.
            BadInputError: the steps cannot be read.
            ConflictError: the plan would call itself.
        """
        if not steps or not steps.strip():
            text = f"{name} is no plan any more" if steps is None else f"made {name} a plan that is taught"
            return self._procedures.change(name, text, steps=None if steps is None else "", step_uuids={})
        with self._database.reading():
            records = {record.name: record for record in self._procedures.list()}
            block = read_steps(steps)
            self._procedures.get(name)
            for called in procedures_of(block):
                if called != NONE_ROUTE and called not in records:
                    raise NotFoundError(
                        f"The plan names {called!r}, and no procedure is called so.{did_you_mean(called, records)}",
                        next_step="See: tokmem-desk proc list",
                    )
            circle = circle_in({**self.blocks(), name: block}, name)
        if circle is not None:
            raise ConflictError(
                f"The plan would call itself: {' → '.join(circle)}.", next_step="Leave out one of the steps."
            )
        uuids = {called: records[called].uuid for called in procedures_of(block) if called in records}
        return self._procedures.change(
            name, f"changed the steps of {name}", steps=storable(write_steps(block)), step_uuids=uuids
        )

    def steps(self) -> dict[str, str]:
        """The steps of every plan under the present names of procedures; empty where its answers are its steps."""
        records = self._procedures.list()
        names = {record.uuid: record.name for record in records}
        return {record.name: _present_steps(record, names) for record in records if record.steps is not None}

    def blocks(self) -> dict[str, Block]:
        """The same, read; without plans that are taught and those that an older program wrote otherwise."""
        found = {}
        for name, steps in self.steps().items():
            with contextlib.suppress(BadInputError):
                if steps:
                    found[name] = read_steps(steps)
        return found

    def called(self, name: str) -> dict[str, str]:
        """The UUID of each procedure that the steps of a plan name, by present name.

        Raises:
            NotFoundError: there is no such procedure.
        """
        names = {one.uuid: one.name for one in self._procedures.list()}
        return {names.get(str(uuid), old): str(uuid) for old, uuid in self._procedures.get(name).step_uuids.items()}

    def missing(self, name: str) -> list[str]:
        """What the steps of a plan name and is not there any more, also where another one is called so now.

        Raises:
            NotFoundError: there is no such procedure.
        """
        record = self._procedures.get(name)
        present = {one.uuid for one in self._procedures.list()}
        return [called for called, identity in record.step_uuids.items() if identity not in present]

    # What came of them

    def begin(self, plan: str, message: str, task: Mapping[str, Any], question_id: int | None) -> PlanRun:
        """Note a run before its first step."""
        with self._database.writing() as connection:
            moment = now()
            run_id = PLAN_RUNS.insert(
                connection, key=uuid.uuid4().hex, plan=plan, message=storable(message), question_id=question_id,
                task=task, answers={}, status="running", words="", created=moment, updated=moment,
            )  # fmt: skip
            old = connection.execute(
                f"DELETE FROM plan_runs WHERE status NOT IN {OPEN} AND id NOT IN "
                f"(SELECT id FROM plan_runs WHERE status NOT IN {OPEN} ORDER BY id DESC LIMIT ?)",
                (KEPT_RUNS,),
            )
            if old.rowcount:
                owe_scrub(connection)
        self._tidy()
        return self.get(run_id)

    @contextlib.contextmanager
    def going_on(self, run: PlanRun, *, seconds: float = 0.5) -> Iterator[PlanRun]:
        """Hold the lock of a run, so that one process at a time does its steps; yields it as it is now.

        Raises:
            BusyError: another process does them.
            ConflictError: it has ended.
            NotFoundError: it was deleted.
        """
        busy = BusyError(
            f"Run {run.id} of {run.plan} goes on in another tokmem-desk.", next_step="Wait for its end, or stop it."
        )
        with process_lock(self._memories.parent / f"plan-{run.key}{SUFFIX}", busy, seconds=seconds):
            present = self.get(run.id)
            if not present.is_open:
                raise ConflictError(f"Run {run.id} of {run.plan} has ended: {present.status}.")
            yield present

    def is_going_on(self, run: PlanRun) -> bool:
        """Whether a process does its steps now; one that is ``running`` and is not going on was broken off."""
        file = self._memories.parent / f"plan-{run.key}{SUFFIX}"
        with contextlib.suppress(BusyError), process_lock(file, BusyError(""), seconds=0.0):
            return False
        return True

    def note(self, run_id: int, answers: Mapping[str, Any], status: RunStatus, words: str = "") -> PlanRun:
        """Keep what came of a run so far.

        Raises:
            NotFoundError: it was deleted.
        """
        with self._database.writing() as connection:
            values = {"answers": answers, "status": status, "words": storable(words), "updated": now()}
            if not PLAN_RUNS.update(connection, run_id, **values):
                raise _no_run(run_id)
        return self.get(run_id)

    def get(self, run_id: int) -> PlanRun:
        """One run.

        Raises:
            NotFoundError: there is no such run.
        """
        row = self._database.row("SELECT * FROM plan_runs WHERE id = ?", (run_id,))
        if row is None:
            raise _no_run(run_id)
        return PLAN_RUNS.record(row)

    def runs(self, limit: int = 50) -> list[PlanRun]:
        """The last runs, newest first."""
        rows = self._database.rows("SELECT * FROM plan_runs ORDER BY id DESC LIMIT ?", (limit,))
        return [PLAN_RUNS.record(row) for row in rows]

    def open_runs(self, question_id: int) -> list[PlanRun]:
        """The runs of a question that can go on, in their order."""
        rows = self._database.rows(
            f"SELECT * FROM plan_runs WHERE question_id = ? AND status IN {OPEN} ORDER BY id", (question_id,)
        )
        return [PLAN_RUNS.record(row) for row in rows]

    def forget(self, run_id: int) -> None:
        """Delete a run for good.

        Raises:
            NotFoundError: there is no such run.
        """
        with self._database.writing() as connection:
            if connection.execute("DELETE FROM plan_runs WHERE id = ?", (run_id,)).rowcount == 0:
                raise _no_run(run_id)
            owe_scrub(connection, promised=True)

    def _tidy(self) -> None:
        """Delete the lock files of runs that ended or are gone: nobody goes on with those."""
        rows = self._database.rows(f"SELECT key FROM plan_runs WHERE status IN {OPEN}")
        kept = {f"plan-{row['key']}{SUFFIX}" for row in rows}
        for file in self._memories.parent.glob(f"plan-*{SUFFIX}"):
            if file.name not in kept:
                with contextlib.suppress(OSError):
                    file.unlink()


def _present_steps(record: ProcedureRecord, names: Mapping[str, str]) -> str:
    """The steps of a plan with the present names of procedures; one that is gone keeps the name it had."""
    if not record.steps:
        return ""
    renamed = {
        old: names[str(identity)]
        for old, identity in record.step_uuids.items()
        if str(identity) in names and names[str(identity)] != old
    }
    if not renamed:
        return record.steps
    with contextlib.suppress(BadInputError):
        return write_steps(with_names(read_steps(record.steps), renamed))
    return record.steps


def _no_run(run_id: int) -> NotFoundError:
    return NotFoundError(f"There is no run {run_id} of a plan.", next_step="See: tokmem-desk plan runs")
