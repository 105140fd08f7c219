"""Examples within a text: a block that is labelled as an input, and behind it one that is labelled as its output.

A block is fenced, stands between tags, or is what follows a label up to the next one. Fenced blocks are written and
read exactly. Outside a part that is called examples, blocks without a fence count from two pairs on: one alone is more
often a description of what goes in and what comes out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tokmem_desk.procedures import ExamplePair

_INPUTS = ("input", "user", "question", "message", "q")
_OUTPUTS = ("output", "assistant", "response", "answer", "result", "a")
_LABEL = re.compile(
    r"[ \t]*(?P<mark>#{1,6}[ \t]+|[-*][ \t]+)?(?P<bold>\*\*|__)?(?:example[ \t]+)?"
    rf"(?P<what>{'|'.join((*_INPUTS, *_OUTPUTS))})(?:[ \t]*#?\d+)?(?:\*\*|__)?[ \t]*"
    r"(?P<colon>:(?:\*\*|__)?[ \t]*(?P<rest>.*))?",
    re.IGNORECASE,
)
_FENCE = re.compile(r"[ \t]*(?P<marks>`{3,}|~{3,})[^`]*")
_HEADING = re.compile(r"[ \t]*#{1,6}[ \t]")
_RULE = re.compile(r"[ \t]*(?:-{3,}|={3,}|\*{3,}|</?example[^>]*>)[ \t]*", re.IGNORECASE)
_EXAMPLES = re.compile(r"\bexamples?\b|\bfew.?shot\b", re.IGNORECASE)
_TAGS = re.compile(
    r"<(?P<one>input|user|question)>(?P<input>.*?)</(?P=one)>\s*"
    r"<(?P<two>output|assistant|response|answer|ideal_output)>(?P<output>.*?)</(?P=two)>",
    re.IGNORECASE | re.DOTALL,
)
_PLACEHOLDER = re.compile(r"\$\w+|\$?\{\{?[^{}]*\}?\}|<[^<>]*>|\[[^\[\]]*\]|\.{3}|…", re.DOTALL)
_RUN = re.compile(r"`+")


@dataclass(frozen=True, slots=True)
class _Block:
    is_input: bool
    text: str
    sure: bool
    """Fenced, or in a part that is called examples."""
    exact: bool
    """Both."""
    end: int
    """The line behind it."""


def example_pairs(text: str) -> tuple[ExamplePair, ...]:
    """The examples in a text, in their order; placeholders such as ``{input}`` are none."""
    labelled = list(_labelled(text.split("\n")))
    sure = [pair for pair, is_sure in labelled if is_sure]
    tagged = [
        ExamplePair(match["input"].strip("\n"), match["output"].strip("\n"))
        for match in _TAGS.finditer(text if not sure else "")
    ]
    tagged = [pair for pair in tagged if not _says_nothing(pair)]
    if len(labelled) > 1 and not tagged:
        return tuple(pair for pair, _ in labelled)
    return tuple(sure or tagged)


def _says_nothing(pair: ExamplePair) -> bool:
    """Whether one of the texts is empty or a placeholder."""
    texts = (pair.input.strip(), pair.response.strip())
    return any(not text or _PLACEHOLDER.fullmatch(text) is not None for text in texts)


def _labelled(lines: Sequence[str]) -> Iterator[tuple[ExamplePair, bool]]:
    """Pairs in labelled blocks, and whether each is surely an example."""
    before: _Block | None = None
    at, in_examples = 0, False
    while at < len(lines):
        block = _block(lines, at, in_examples)
        if block is not None:
            if not block.is_input and before is not None:
                pair = ExamplePair(before.text, block.text)
                is_exact = before.exact and block.exact
                if before.text.strip() and block.text.strip() and (is_exact or not _says_nothing(pair)):
                    yield pair, before.sure and block.sure
            before = block if block.is_input else None
            at = block.end
            continue
        if (fence := _FENCE.fullmatch(lines[at])) is not None:  # what stands in another block is no label
            at = _closing(lines, at + 1, fence["marks"])
        if at < len(lines) and _HEADING.match(lines[at]):
            named = _EXAMPLES.search(lines[at]) is not None
            in_examples = named or (in_examples and _depth(lines[at]) > 2)
        at += 1


def _depth(line: str) -> int:
    return len(line.strip()) - len(line.strip().lstrip("#"))


def _label(line: str) -> re.Match[str] | None:
    match = _LABEL.fullmatch(line)
    if match is None:
        return None
    heading = (match["mark"] or "").startswith("#")
    return match if heading or match["bold"] or match["colon"] is not None else None


def _block(lines: Sequence[str], at: int, in_examples: bool) -> _Block | None:
    """The labelled block that begins on a line, if one does."""
    label = _label(lines[at])
    if label is None:
        return None
    is_input = label["what"].lower() in _INPUTS
    in_examples = in_examples or "example" in label[0].lower()
    rest = (label["rest"] or "").strip()
    begin = at + 1
    if not rest:
        while begin < len(lines) and not lines[begin].strip():
            begin += 1
        fence = _FENCE.fullmatch(lines[begin]) if begin < len(lines) else None
        if fence is not None:
            end = _closing(lines, begin + 1, fence["marks"])
            return _Block(is_input, "\n".join(lines[begin + 1 : end]), True, in_examples, end + 1)
    end = begin
    while end < len(lines) and not _ends(lines, end, after_rest=bool(rest)):
        end += 1
    text = "\n".join([rest, *lines[begin:end]] if rest else lines[begin:end]).strip()
    return _Block(is_input, text, in_examples, False, max(end, at + 1))


def _ends(lines: Sequence[str], at: int, *, after_rest: bool) -> bool:
    line = lines[at]
    if _label(line) is not None or _HEADING.match(line) or _RULE.fullmatch(line):
        return True
    return after_rest and not line.strip()


def _closing(lines: Sequence[str], at: int, marks: str) -> int:
    """The line of the fence that closes a block; the end of the text where none does."""
    while at < len(lines):
        mark = lines[at].strip()
        if len(mark) >= len(marks) and set(mark) == {marks[0]}:
            return at
        at += 1
    return len(lines)


def fenced(text: str, language: str = "") -> str:
    """A text as a block that nothing within it closes."""
    longest = max((len(run) for run in _RUN.findall(text)), default=0)
    marks = "`" * max(3, longest + 1)
    return f"{marks}{language}\n{text}\n{marks}"


def written_pairs(pairs: Sequence[ExamplePair]) -> str:
    """Pairs as blocks that ``example_pairs`` reads back exactly."""
    return "\n\n".join(f"Input:\n{fenced(pair.input)}\n\nOutput:\n{fenced(pair.response)}" for pair in pairs)
