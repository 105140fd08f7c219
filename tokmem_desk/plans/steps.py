"""The text of a plan, and what it says: steps in order, and blocks of them under conditions.

One line is one step. A block is what stands two blanks further in, as in::

    expense: {message}
    if {expense.amount} > 50 and {expense.kind} in travel, hotel
      ask me: Book {expense.amount} euro?
      book: {expense}
    else
      tell me: {expense.amount} euro need no question.

A step is the name of a procedure, and behind a colon its message; without one it gets the message of the plan. A name
in front (``first = expense: …``) is how later lines call it. ``ask me`` goes on after a yes alone, ``tell me`` says
something.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

from tokmem_desk.errors import BadInputError
from tokmem_desk.plans.conditions import Condition, check_references, read_condition
from tokmem_desk.procedures import AUTO_ROUTE

MAX_LINES = 60
"""Lines of a plan at most: more is not read before it is let run."""

MAX_BLOCKS = 4
"""Blocks within one another at most."""

MAX_CHARACTERS = 8_000
MESSAGE = "message"
"""What the plan was asked, as references call it."""

ASK, TELL = "ask me", "tell me"
"""Steps that are no procedures; no procedure can be called so, since names have no blanks."""

_STEP = re.compile(
    r"(?:(?P<label>[a-z0-9_-]{1,40}) = )?(?P<name>ask me|tell me|[a-z0-9_-]{1,40})(?::[ ]?(?P<text>.*))?", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        procedure: its name; ``ask me`` or ``tell me`` for those that are none.
        text: its message, with references in braces.
        label: how references call its answer.
        line: where it stands, from 1.
    """

    procedure: str
    text: str
    label: str
    line: int

    @property
    def is_procedure(self) -> bool:
        """Whether a procedure does it, or plain chat."""
        return self.procedure not in (ASK, TELL)


@dataclass(frozen=True, slots=True)
class Branch:
    """Blocks of which one is done: the first whose condition holds.

    Attributes:
        cases: condition and block of each; the condition of ``else`` is None.
        line: where it begins, from 1.
    """

    cases: tuple[tuple[Condition | None, tuple[Step | Branch, ...]], ...]
    line: int


Block = tuple[Step | Branch, ...]


def read_steps(text: str) -> Block:
    """The steps of a plan's text.

    Raises:
        BadInputError: it is none; the text says which line is wrong, and how.
    """
    if len(text) > MAX_CHARACTERS:
        raise BadInputError(f"A plan has at most {MAX_CHARACTERS:,} characters.", next_step="Let it call other plans.")
    lines = [_line(number, line) for number, line in enumerate(text.splitlines(), 1) if _says_something(line)]
    if not lines:
        raise BadInputError("A plan needs a step.", next_step="A line is the name of a procedure, as in: expense")
    if len(lines) > MAX_LINES:
        raise BadInputError(f"A plan has at most {MAX_LINES} lines.", next_step="Let it call other plans.")
    reader = _Reader(lines)
    block = reader.block(0)
    check_labels(block)
    return block


def write_steps(block: Block, depth: int = 0) -> str:
    """The text of steps, as ``read_steps`` reads it."""
    lines: list[str] = []
    indent = "  " * depth
    for item in block:
        if isinstance(item, Step):
            label = "" if item.label == item.procedure or not item.is_procedure else f"{item.label} = "
            text = "" if item.text == "{message}" and item.is_procedure else f": {item.text}"
            lines.append(f"{indent}{label}{item.procedure}{text}")
            continue
        for place, (condition, inner) in enumerate(item.cases):
            head = "else" if place and condition is None else f"{'else ' if place else ''}if {condition}"
            lines += [f"{indent}{head}", write_steps(inner, depth + 1)]
    return "\n".join(lines)


def all_steps(block: Block) -> Iterator[Step]:
    """Every step, in the order of the text."""
    for item in block:
        if isinstance(item, Step):
            yield item
        else:
            for _, inner in item.cases:
                yield from all_steps(inner)


def procedures_of(block: Block) -> list[str]:
    """The names of the procedures that a plan may call, each once, in the order of the text."""
    return list(dict.fromkeys(step.procedure for step in all_steps(block) if step.is_procedure))


def with_names(block: Block, names: Mapping[str, str]) -> Block:
    """The same steps after procedures were renamed. What references called so is called so no less.

    Args:
        names: the new name of each old one.
    """
    changed: list[Step | Branch] = []
    for item in block:
        if isinstance(item, Step):
            known = item.is_procedure and item.procedure in names
            changed.append(replace(item, procedure=names[item.procedure]) if known else item)
        else:
            cases = tuple((condition, with_names(inner, names)) for condition, inner in item.cases)
            changed.append(replace(item, cases=cases))
    return tuple(changed)


def circle_in(plans: Mapping[str, Block], name: str) -> list[str] | None:
    """The names of plans that call one another in a circle which this plan begins; None where there is none."""

    def look(path: list[str]) -> list[str] | None:
        for called in procedures_of(plans[path[-1]]):
            if called in path:
                return [*path, called]
            if called in plans and (found := look([*path, called])):
                return found
        return None

    return look([name]) if name in plans else None


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    depth: int
    text: str


def _says_something(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _line(number: int, line: str) -> _Line:
    text = line.strip()
    blanks = len(line.rstrip()) - len(text)
    if line[:blanks].strip(" ") or blanks % 2:
        raise _fault(number, "begins with blanks that are no blocks; a block stands two blanks further in")
    if blanks // 2 > MAX_BLOCKS:
        raise _fault(number, f"stands in more than {MAX_BLOCKS} blocks")
    return _Line(number, blanks // 2, text)


def _fault(number: int, what: str) -> BadInputError:
    return BadInputError(f"Line {number} of the plan {what}.", next_step="See: tokmem-desk plan --help")


class _Reader:
    def __init__(self, lines: Sequence[_Line]) -> None:
        self._lines, self._place = lines, 0

    def block(self, depth: int) -> Block:
        found: list[Step | Branch] = []
        while (line := self._next) is not None and line.depth >= depth:
            if line.depth > depth:
                raise _fault(line.number, "stands further in than the line before allows")
            if line.text.startswith("if "):
                found.append(self._branch(line))
            elif line.text == "else" or line.text.startswith("else "):
                raise _fault(line.number, "is an 'else' without its 'if'")
            else:
                found.append(_step(line))
                self._place += 1
        return tuple(found)

    def _branch(self, first: _Line) -> Branch:
        cases: list[tuple[Condition | None, Block]] = []
        for place in count():
            line = self._next
            if line is None or line.depth != first.depth:
                break
            head = line.text
            if place and head != "else" and not head.startswith("else if "):
                break
            condition = None if head == "else" else _condition(line, head.removeprefix("else ").removeprefix("if "))
            self._place += 1
            inner = self.block(first.depth + 1)
            if not inner:
                raise _fault(line.number, "needs a step two blanks further in behind it")
            cases.append((condition, inner))
            if condition is None:
                break
        return Branch(tuple(cases), first.number)

    @property
    def _next(self) -> _Line | None:
        return self._lines[self._place] if self._place < len(self._lines) else None


def _condition(line: _Line, text: str) -> Condition:
    try:
        return read_condition(text)
    except BadInputError as caught:
        raise _fault(line.number, f"cannot be read: {caught.message.rstrip('.')}") from caught


def _step(line: _Line) -> Step:
    found = _STEP.fullmatch(line.text)
    if found is None or found["name"] == AUTO_ROUTE:
        raise _fault(line.number, f"is no step: {line.text[:60]!r}")
    name, text, label = found["name"], found["text"], found["label"]
    step = Step(name, "{message}" if text is None else text.strip(), label or name, line.number)
    if not step.is_procedure and (text is None or not text.strip() or label):
        raise _fault(line.number, f"needs a text behind '{name}:' and no name in front")
    if not step.text:
        raise _fault(line.number, "has no message behind its colon")
    if step.label == MESSAGE:
        raise _fault(line.number, f"cannot be called {MESSAGE!r}, which is what the plan was asked")
    return step


def check_labels(block: Block) -> None:
    """Refuse references to what no step before them is called.

    Raises:
        BadInputError: a line refers to something that is never there.
    """

    def check(inner: Block, known: set[str]) -> set[str]:
        known = set(known)
        for item in inner:
            if isinstance(item, Step):
                _check_names(item.line, check_references(item.text), known)
                if item.is_procedure:
                    known.add(item.label)
                continue
            after = set(known)
            for condition, case in item.cases:
                _check_names(item.line, [] if condition is None else condition.references, known)
                after |= check(case, known)
            known = after
        return known

    check(block, {MESSAGE})


def _check_names(line: int, names: Sequence[str], known: set[str]) -> None:
    for reference in names:
        label = reference.partition(".")[0]
        if label not in known:
            raise _fault(line, f"refers to {{{reference}}}, and no step before it is called {label!r}")
