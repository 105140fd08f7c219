"""What a plan does next: a function of its steps, its message and the answers that are there. Nothing is kept.

So going on after a stop, reading a trace and doing it again are the same: walk from the beginning with the answers that
are there. Places name steps: ``2`` is the second that was reached, ``2.1`` the first of the plan that it calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tokmem_desk.errors import BadInputError, TokmemError
from tokmem_desk.plans.conditions import MissingValue, filled
from tokmem_desk.plans.steps import ASK, MESSAGE, TELL, Block, Branch, Step, read_steps
from tokmem_desk.plans.values import value_at

MAX_STEPS = 40
"""Steps of one run at most, those of inner plans included."""

MAX_DEPTH = 5
"""Plans within one another at most."""

TAUGHT = ""
"""In place of steps: the plan's own answer says them."""


@dataclass(frozen=True, slots=True)
class StepAnswer:
    """What came of a step.

    Attributes:
        response: the text.
        arguments: the object that it is, where its procedure has a schema.
        output: what its command printed.
        fault: why the plan cannot go on behind it; empty where it can.
        said: what the person said to a question; None where that is open.
    """

    response: str = ""
    arguments: Mapping[str, Any] | None = None
    output: str = ""
    fault: str = ""
    said: bool | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """A condition was looked at."""

    place: str
    words: str
    taken: bool


@dataclass(frozen=True, slots=True)
class Done:
    """A step was done: a procedure has answered, the person has said yes."""

    place: str
    procedure: str
    text: str


@dataclass(frozen=True, slots=True)
class Told:
    """Something was said."""

    place: str
    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A procedure is to answer a text; ``says_steps`` where it is a plan whose answer is its steps."""

    place: str
    procedure: str
    text: str
    says_steps: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """The person is to say yes or no."""

    place: str
    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The end: ``done``, ``stopped`` (the person said no) or ``failed``, with the reason in words."""

    status: str
    words: str = ""
    place: str = ""


Event = Checked | Done | Told | Call | Question | Finished


@dataclass(frozen=True, slots=True)
class PlanTask:
    """What a run was begun with, which does not change any more.

    Attributes:
        name: of the plan.
        message: what it was asked.
        plans: the steps of each plan that may be called, as texts; ``TAUGHT`` for those that answer with them.
        today: ISO date.
        steps: the plan's own, where its answer has said them already; else empty.
    """

    name: str
    message: str
    plans: Mapping[str, str]
    today: str
    steps: str = ""


def walk(task: PlanTask, answers: Mapping[str, StepAnswer]) -> list[Event]:
    """Everything that has happened, in order, and as the last event what is next: a call, a question, or the end.

    Args:
        task: what was begun.
        answers: what is there, by place.
    """
    walker = _Walker(task, answers)
    events: list[Event] = []
    try:
        for event in walker.plan(task.name, task.message, "", task.steps, 1):
            events.append(event)
            if isinstance(event, Call | Question | Finished):
                return events
    except TokmemError as caught:
        return [*events, Finished("failed", caught.message, walker.place)]
    return [*events, Finished("done")]


class _Walker:
    def __init__(self, task: PlanTask, answers: Mapping[str, StepAnswer]) -> None:
        self._task, self._answers = task, answers
        self._count = 0
        self._number: dict[str, int] = {}
        """Steps reached so far, of the plan at each place."""
        self.place = ""
        """Of the step that is looked at."""
        self.result = StepAnswer()
        """The last answer of the plan that has just ended."""

    def plan(self, name: str, message: str, prefix: str, steps: str, depth: int) -> Iterator[Event]:
        """Walk through one plan; sets ``result`` to its last answer."""
        if depth > MAX_DEPTH:
            raise BadInputError(f"plans call one another more than {MAX_DEPTH} deep.")
        scope = _Scope(message, self._task.today)
        self._number[prefix] = 0
        yield from self._block(_read(name, steps or self._task.plans[name]), scope, prefix, depth)
        self.result = scope.last

    def _block(self, block: Block, scope: _Scope, prefix: str, depth: int) -> Iterator[Event]:
        for item in block:
            if isinstance(item, Branch):
                yield from self._branch(item, scope, prefix, depth)
            else:
                yield from self._step(item, scope, prefix, depth)

    def _branch(self, branch: Branch, scope: _Scope, prefix: str, depth: int) -> Iterator[Event]:
        self.place = self._at(prefix, self._number[prefix] + 1)
        for condition, block in branch.cases:
            if condition is None:
                yield from self._block(block, scope, prefix, depth)
                return
            taken, words = condition.holds(scope.value, self._task.today)
            yield Checked(self.place, words, taken)
            if taken:
                yield from self._block(block, scope, prefix, depth)
                return

    def _step(self, step: Step, scope: _Scope, prefix: str, depth: int) -> Iterator[Event]:
        self._count += 1
        self._number[prefix] += 1
        self.place = place = self._at(prefix, self._number[prefix])
        if self._count > MAX_STEPS:
            raise BadInputError(f"a plan does at most {MAX_STEPS} steps.")
        text = filled(step.text, scope.value)
        if not text.strip():
            raise MissingValue("the message of the step is empty.")
        if step.procedure == TELL:
            yield Told(place, text)
            return
        answer = self._answers.get(place)
        if step.procedure == ASK:
            if answer is None or answer.said is None:
                yield Question(place, text)
            elif answer.said:
                yield Done(place, ASK, text)
            else:
                yield Finished("stopped", f"you said no to: {text}", place)
            return
        yield from self._procedure(step, text, place, scope, depth)

    def _procedure(self, step: Step, text: str, place: str, scope: _Scope, depth: int) -> Iterator[Event]:
        name = step.procedure
        inner = self._task.plans.get(name)
        answer = self._answers.get(place)
        if inner is None or inner == TAUGHT:
            if answer is None:
                yield Call(place, name, text, inner == TAUGHT)
                return
            if answer.fault:
                yield Finished("failed", answer.fault, place)
                return
        if inner is None and answer is not None:
            yield Done(place, name, text)
            scope.keep(step.label, answer)
            return
        steps = inner or ("" if answer is None else answer.response)
        yield from self.plan(name, text, place, steps, depth + 1)
        scope.keep(step.label, self.result)

    @staticmethod
    def _at(prefix: str, number: int) -> str:
        return f"{prefix}.{number}" if prefix else str(number)


class _Scope:
    """The values that the steps of one plan can refer to."""

    def __init__(self, message: str, today: str) -> None:
        self._known = {MESSAGE: StepAnswer(message)}
        self._today = today
        self.last = StepAnswer()

    def keep(self, label: str, answer: StepAnswer) -> None:
        self._known[label] = self.last = answer

    def value(self, reference: str) -> Any:
        label, *path = reference.split(".")
        answer = self._known.get(label)
        if answer is None:
            return None
        if path == ["output"] and answer.output:
            return answer.output.strip()
        return value_at(answer.response, answer.arguments, path, self._today)


def _read(name: str, steps: str) -> Block:
    try:
        return read_steps(steps)
    except BadInputError as caught:
        raise BadInputError(f"the answer of {name} is no plan: {caught.message}") from caught
