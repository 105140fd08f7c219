"""Does plans: has each step answered by the engine, keeps what came of it, and shows it as segments of one answer.

``tokmem_desk.plans`` says what is next. A run is noted before its first step and after each, under a lock, so that it
can go on after a stop, a kill or a restart, and nothing is done twice. Asks nobody: a run that needs a word of the
person ends as ``waiting``, and goes on with ``go_on``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, aclosing
from typing import Any

from profiles.store.plans import PlanRun, RunStatus
from profiles.store.store import ProfileStore
from tokmem_desk.errors import (
    BadInputError,
    ContextLengthError,
    GenerationError,
    InterruptedByUser,
    NotFoundError,
)
from tokmem_desk.generation.answer_segment import SEGMENT_BREAK
from tokmem_desk.plans.walk import TAUGHT, Call, Done, Finished, Question, Told
from tokmem_desk.procedures import AUTO_ROUTE, NONE_ROUTE
from tui.engine_client.client import RequestHandle
from tui.engine_client.link import EngineLink
from tui.engine_client.protocol import Message
from tui.shared.plan_checks import plan_fault
from tui.shared.plan_commands import Decision, settle_command
from tui.shared.plan_results import (
    CUT,
    EMPTY,
    STATUS,
    head_segment,
    not_begun,
    note,
    output_words,
    plain_segment,
    summary,
)
from tui.shared.plan_words import event_line, events_of, task_of

OpenStore = Callable[[], AbstractContextManager[ProfileStore]]


class PlanAnswering:
    """One message and its answer, in which plans are done. Passes every other answer through as it comes.

    Args:
        link: the way to the engine.
        profile: its name.
        open_store: opens the profile's store where it is needed.
        question_id: the message in a conversation, with which the run goes; None outside of one.
        kept: whether runs are kept at all; those of a temporary conversation are not.
        runs_commands: whether commands that are always allowed run; else all are left.
        command_seconds: how long one may take.
        settings: of the requests, as ``settings`` of ``tui.engine.operation``.
        fingerprint: of the model, where the link does not know it.
    """

    def __init__(
        self,
        link: EngineLink,
        profile: str,
        open_store: OpenStore,
        *,
        question_id: int | None = None,
        kept: bool = True,
        runs_commands: bool = False,
        command_seconds: float = 60.0,
        settings: Mapping[str, Any] | None = None,
        fingerprint: str | None = None,
    ) -> None:
        self._link, self._profile, self._open_store = link, profile, open_store
        self._question_id, self._kept, self._runs_commands = question_id, kept, runs_commands
        self._command_seconds = command_seconds
        self._fingerprint = fingerprint
        self._more = {} if settings is None else {"settings": settings}
        self._handle: RequestHandle | None = None
        self._stopped = False
        self._base: Message = {}
        """The result that the segments belong to."""
        self._segments: list[Message] = []
        self._plans: list[Message] = []
        self.runs: dict[int, PlanRun] = {}
        """The runs of this answer as they are now, by id; those that are kept nowhere have ids below 0."""
        self._system: list[dict[str, str]] = []
        self._line_open = False

    async def cancel(self) -> None:
        """End what goes on; what was done stands, and the run can go on later."""
        self._stopped = True
        if self._handle is not None:
            await self._handle.cancel()

    async def asked(self, text: str, route: str, **fields: Any) -> AsyncGenerator[Message, None]:
        """Answer a message; closing this before its end cancels the request.

        Yields:
            Events as of the operation ``ask``. Steps of plans are segments with a ``place``; ``progress`` events of the
            phase ``plan`` say what conditions came to; the result has ``plans``, one object for each run.

        Raises:
            TokmemError: the engine failed.
        """
        self._system = [one for one in fields.get("conversation") or () if one.get("role") == "system"]
        steps = "" if fields.get("asked") else self._written_steps(route)
        if steps:  # a person has chosen a plan that a person has written: no model is needed to find it
            routed = {"route": route, "probability": 1.0, "candidates": [{"route": route, "probability": 1.0}]}
            self._base = {**EMPTY, **routed}
            yield {"event": "route", **routed, "forced": True, "segment": 0, "part": text, "plan": True}
            async for event in self._run_segment({**routed, "part": text, "response": steps}):
                yield event
            yield self._done()
            return
        held: list[Message] = []
        first_plan: int | None = None
        async with aclosing(self._ask(text=text, route=route, **fields)) as events:
            async for event in events:
                if event["event"] == "route" and event.get("plan") and first_plan is None:
                    first_plan = int(event.get("segment", 0))
                    yield event
                elif event["event"] == "done":
                    self._base = dict(event["result"])
                elif first_plan is None or event["event"] == "progress":
                    self._note_line(event)
                    yield event
                elif event["event"] == "route":
                    held.append(event)
        if first_plan is None or self._base.get("stopped") == "cancelled":
            yield {"event": "done", "result": self._base}
            return
        segments = list(self._base["segments"])
        self._segments = segments[:first_plan]
        routes = {int(event.get("segment", 0)): event for event in held}
        for number, segment in enumerate(segments[first_plan:], first_plan):
            opening = routes.get(number)
            if opening is not None:
                async for event in self._begin(opening):
                    yield event
            if number == first_plan or (opening is not None and opening.get("plan")):
                async for event in self._run_segment(segment):
                    yield event
            else:
                self._segments.append(segment)
                yield self._token(str(segment["response"]))
        yield self._done()

    async def go_on(self, run: PlanRun, decision: Decision | None = None) -> AsyncGenerator[Message, None]:
        """Go on with a run that waits or was broken off.

        Args:
            run: of the profile.
            decision: to what it waits for; None goes on as far as that is possible without one.

        Raises:
            BusyError: another process goes on with it.
            ConflictError: it has ended meanwhile.
            TokmemError: the engine failed.
        """
        routed = {"route": run.plan, "probability": 1.0, "candidates": [{"route": run.plan, "probability": 1.0}]}
        if not self._base:
            self._base = {**EMPTY, **routed}
        self._stopped = False
        heads = [place for place, one in enumerate(self._segments) if one.get("run_id") == run.id]
        self._plans = [plan for plan in self._plans if plan["run"] != run.id]
        if not heads:
            yield {"event": "route", **routed, "forced": True, "segment": len(self._segments), "part": run.message,
                   "plan": True}  # fmt: skip
            self._segments.append(head_segment(routed, run))
        with self._open_store() as store, self._held(store, run) as present:
            async for event in self._steps(store, present, decision, is_new=False):
                yield event
        yield self._done()

    # One run

    def _written_steps(self, route: str) -> str:
        if route in (AUTO_ROUTE, NONE_ROUTE):
            return ""
        with self._open_store() as store:
            record = next((one for one in store.procedures.list() if one.name == route), None)
            return store.plans.steps().get(route, "") if record is not None and record.enabled else ""

    async def _run_segment(self, segment: Message) -> AsyncGenerator[Message, None]:
        """Do the plan that answered a segment; its response has the steps."""
        plan, message, steps = str(segment["route"]), str(segment["part"]), str(segment["response"])
        with self._open_store() as store:
            plans = store.plans.steps()
            task = {"plans": plans, "today": datetime.datetime.now().astimezone().date().isoformat(), "steps": steps}
            fault = str(segment.get("problem") or "") or self._fault(store, plan, steps, plans)
            if fault:
                self._segments.append(plain_segment(segment, "0", part=message, problem=fault))
                self._plans.append(not_begun(plan, fault))
                return
            if self._kept:
                run = store.plans.begin(plan, message, task, self._question_id)
            else:
                run = PlanRun(-1 - len(self.runs), "", plan, message, None, task, {}, "running", "", "", "")
            self._segments.append(head_segment(segment, run))
            with self._held(store, run) as present:
                async for event in self._steps(store, present, None, is_new=True):
                    yield event

    def _held(self, store: ProfileStore, run: PlanRun) -> AbstractContextManager[PlanRun]:
        return store.plans.going_on(run) if self._kept else contextlib.nullcontext(run)

    def _fault(self, store: ProfileStore, plan: str, steps: str, plans: Mapping[str, str]) -> str:
        backbone = self._link.state.backbone
        known = self._fingerprint if backbone is None else backbone["fingerprint"]
        return plan_fault(store, plan, steps, plans, known)

    async def _steps(
        self, store: ProfileStore, run: PlanRun, decision: Decision | None, *, is_new: bool
    ) -> AsyncGenerator[Message, None]:
        """Do steps until the end, or until a word of the person is needed."""
        records: dict[str, Any] = {place: dict(record) for place, record in run.answers.items()}
        shown = 0 if is_new else len(events_of(run)) - 1
        if not is_new and not any(one.get("place") not in ("", None, "0") for one in self._segments):
            self._segments += [segment for record in records.values() for segment in record.get("segments", ())]

        def keep(status: RunStatus = "running", words: str = "") -> None:
            nonlocal run
            if self._kept:
                run = store.plans.note(run.id, records, status, words)
            else:
                run = dataclasses.replace(run, answers=dict(records), status=status, words=words)
            self.runs[run.id] = run

        keep()
        if (last := events_of(run)[-1]).place not in records and not isinstance(last, Question):
            # Nobody has seen what comes next, so nothing was said to it; only an end holds for all of it.
            decision = "no" if decision == "no" else None
        while True:
            happened = events_of(run)
            for event in happened[shown:-1]:
                if isinstance(event, Told):
                    async for piece in self._tell(event):
                        yield piece
                elif not isinstance(event, Done):
                    yield note(event_line(event, {}))
            shown, last = len(happened) - 1, happened[-1]
            if isinstance(last, Finished):
                keep(STATUS[last.status], last.words)
                break
            if self._stopped:
                keep("waiting", "stopped by you")
                break
            if isinstance(last, Question):
                if decision is None or decision == "skip":
                    keep("waiting", last.text)
                    break
                records[last.place], decision = {"said": decision == "yes"}, None
                keep()
                continue
            assert isinstance(last, Call)
            if decision == "no":
                if last.place in records:
                    records[last.place].update(open=False, fault=f"you did not allow the command of {last.procedure}.")
                keep("stopped", f"you ended it before {last.procedure} was done.")
                break
            if last.place not in records:
                try:
                    async for piece in self._answer(last, records):
                        yield piece
                except InterruptedByUser:
                    self._stopped = True
                    continue
                if last.place not in records:
                    continue
                if last.says_steps and not records[last.place]["fault"]:
                    plans = task_of(run).plans
                    records[last.place]["fault"] = self._fault(
                        store, last.procedure, records[last.place]["response"], {**plans, last.procedure: TAUGHT}
                    )
                keep()
            record = records[last.place]
            if not record["open"]:
                continue
            waits = await settle_command(
                store, record, keep, decision=decision, runs=self._runs_commands, seconds=self._command_seconds
            )
            decision = None
            if waits:
                keep("waiting", waits)
                break
            if record.get("run"):
                yield note(f"{last.place}  {last.procedure}: its command ended. {output_words(record)}".rstrip())
                self._put_run(last.place, record)
            keep()
        self._plans.append(summary(run))

    async def _answer(self, call: Call, records: dict[str, Any]) -> AsyncGenerator[Message, None]:
        """Have one step answered; leaves no record where it was stopped."""
        conversation = self._system if call.procedure == NONE_ROUTE else []
        base, segments, fault = len(self._segments), [], ""
        try:
            async with aclosing(
                self._ask(text=call.text, route=call.procedure, conversation=conversation, sample=False)
            ) as events:
                async for event in events:
                    if event["event"] == "route":
                        number = base + int(event.get("segment", 0))
                        async for one in self._begin({**event, "segment": number, "place": call.place}):
                            yield one
                    elif event["event"] == "token" and not call.says_steps:
                        if event["text"] != SEGMENT_BREAK or not self._line_open:
                            self._note_line(event)
                        yield event
                    elif event["event"] == "done":
                        result = event["result"]
                        segments = [{**segment, "place": call.place} for segment in result["segments"]]
                        if result["stopped"] == "cancelled":
                            self._stopped = True
                            return
                        self._add_costs(result)
                        fault = CUT.get(result["stopped"], "")
        except (NotFoundError, GenerationError, ContextLengthError, BadInputError) as caught:
            fault = str(caught)
        last = segments[-1] if segments else {}
        if call.says_steps:
            segments = [{**segment, "response": ""} for segment in segments]
        records[call.place] = {
            "open": not fault and not call.says_steps,
            "response": str(last.get("response", "")),
            "arguments": last.get("arguments"),
            "segments": segments,
            "fault": fault or next((str(one["problem"]) for one in segments if one.get("problem")), ""),
        }
        if records[call.place]["fault"]:
            records[call.place]["open"] = False
        self._segments += segments

    async def _tell(self, told: Told) -> AsyncGenerator[Message, None]:
        """Say what a plan says, as a segment of its own."""
        routed = {name: self._base[name] for name in ("route", "probability", "candidates")}
        opening = {"event": "route", **routed, "forced": True, "segment": len(self._segments), "part": told.text,
                   "place": told.place}  # fmt: skip
        async for event in self._begin(opening):
            yield event
        self._segments.append(plain_segment(routed, told.place, response=told.text))
        yield self._token(told.text)

    # What goes to the client

    async def _ask(self, **fields: Any) -> AsyncGenerator[Message, None]:
        """The events of one request of the engine."""
        handle = self._handle = self._link.submit("ask", profile=self._profile, **{**fields, **self._more})
        ended = False
        try:
            async with aclosing(self._link.events(handle)) as events:
                async for event in events:
                    ended = event["event"] == "done"
                    yield event
        finally:
            self._handle = None if ended else handle

    async def _begin(self, opening: Message) -> AsyncGenerator[Message, None]:
        if self._line_open:
            yield self._token(SEGMENT_BREAK)
        yield opening

    def _token(self, text: str) -> Message:
        event: Message = {"event": "token", "text": text}
        self._note_line(event)
        return event

    def _note_line(self, event: Message) -> None:
        if event["event"] == "token" and event["text"]:
            self._line_open = not event["text"].endswith("\n")

    def _put_run(self, place: str, record: Mapping[str, Any]) -> None:
        of_place = [number for number, one in enumerate(self._segments) if one.get("place") == place]
        if of_place:
            self._segments[of_place[-1]] = {**self._segments[of_place[-1]], "run": record["run"]}

    def _add_costs(self, result: Message) -> None:
        timing, more = dict(self._base["timing"]), result["timing"]
        for name in ("total", "tokens"):
            timing[name] += more[name]
        self._base["timing"] = timing
        self._base["prompt_tokens"] = self._base["prompt_tokens"] + result["prompt_tokens"]
        if not self._base["context"]["length"]:
            self._base["context"] = result["context"]

    def _done(self) -> Message:
        for plan in self._plans:
            if plan["status"] == "failed":
                head = next(one for one in reversed(self._segments) if one.get("place") == "0")
                head["problem"] = head["problem"] or f"{plan['plan']} was not done to its end: {plan['words']}"
        said: Iterable[str] = (str(segment["response"]) for segment in self._segments)
        result = {
            **self._base,
            "response": SEGMENT_BREAK.join(text for text in said if text),
            "segments": [{name: one[name] for name in one if name != "run_id"} for one in self._segments],
            "plans": list(self._plans),
        }
        result.pop("answer_probability", None)
        if self._stopped:
            result["stopped"] = "cancelled"
        return {"event": "done", "result": result}
