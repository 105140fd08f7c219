"""The route of an answer with its probability, and the next most probable routes, as text. Draws nothing itself."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from tokmem_desk.procedures import NONE_ROUTE
from tokmem_desk.references.filled import FilledIn
from tui.chat.doubt_view import sure_words
from tui.chat.turns import Answer
from tui.kit.bar import bar
from tui.kit.words import percent

RUNNERS_UP = 3
FILLED_SHOWN = 40
"""Characters of a value that was filled in."""
BAR_CELLS = 16
PROBABILITY_WORDS = "how sure it is of the route; that says nothing about whether the answer is right"


def chip_content(answer: Answer, status: str, *, opened: bool) -> Content:
    """One line; opened, a bar for each of the best routes and the timing below it.

    Args:
        answer: with its route, or without one as long as that is open.
        status: a few words to put behind the route, as "stopped" or "0.8 s".
        opened: show the runners-up.
    """
    if answer.route is None:
        return Content.styled(status or "…", "$muted")
    line = Content.assemble(*_route_words(answer))
    if status:
        line = Content.assemble(line, Content.styled(f"  {status}", "$muted"))
    if not opened:
        return line
    shown = list(answer.candidates[: RUNNERS_UP + 1])
    width = max((len(one["route"]) for one in shown), default=0)
    lines = [line]
    lines += [
        Content.assemble(
            f"  {one['route']:<{width}}  ",
            bar(one["probability"], cells=BAR_CELLS),
            f" {percent(one['probability']):>5}",
        )
        for one in shown
    ]
    if shown:
        lines.append(Content.styled(f"  {PROBABILITY_WORDS}", "$muted"))
    if made := how_made(answer):
        lines.append(Content.styled(f"  {made}", "$muted"))
    return Content("\n").join(lines)


def near_words(between: tuple[str, str]) -> Content:
    """The two routes that a message lies between, with the key of each."""
    line = [Content.styled("  meant for", "$muted")]
    for place, route in enumerate(between, start=1):
        line += [Content.styled(f"  {place} ", "bold $accent"), Content("plain chat" if route == NONE_ROUTE else route)]
    return Content.assemble(*line, Content.styled("  ? From the prompt Alt+1, Alt+2", "$muted"))


_BEFORE = {("message", 0): "your message before", ("answer", 0): "the answer before"}
_EARLIER = {"message": "an earlier message", "answer": "an earlier answer"}


def filled_words(filled: Sequence[FilledIn]) -> Content:
    """What was put in the place of words of the message, and where it is from; a line for each value."""
    lines = []
    for place, one in enumerate(filled):
        where = _BEFORE.get((one.source, one.back), _EARLIER[one.source])
        value = " ".join(one.value.split())
        shown = value if len(value) <= FILLED_SHOWN else value[: FILLED_SHOWN - 1] + "…"
        line = [
            Content.styled("  ", "$muted"),
            Content(one.words),
            Content.styled(" → ", "$muted"),
            Content.styled(shown, "$accent"),
            Content.styled(f"  from {where}", "$muted"),
        ]
        if place == len(filled) - 1:
            line.append(Content.styled("  u takes it as typed", "$muted"))
        lines.append(Content.assemble(*line))
    return Content("\n").join(lines)


def route_words(route: str, probability: float | None) -> list[Content]:
    """A route as a sign and words, so that colour is not needed.

    The probability is named: a bare figure behind an answer reads as trust in the answer, and it is of the choice only.
    """
    is_none = route == NONE_ROUTE
    words = [
        Content.styled("○ " if is_none else "◆ ", "$muted" if is_none else "$primary"),
        Content.styled(route, "bold $text" if is_none else "bold $primary"),
    ]
    if probability is not None:
        words.append(Content.styled(f" route {percent(probability)}", "$muted"))
    return words


def _route_words(answer: Answer) -> list[Content]:
    """The route of the answer, and everything that was done with it."""
    words = route_words(str(answer.route), None if answer.forced else answer.probability)
    if answer.guest:
        words.append(Content.styled("  imported, not accepted yet", "$text-warning"))
    if answer.forced and answer.corrected_from is None:
        words.append(Content(" your choice"))
    if answer.corrected_from is not None:
        verdict = "corrected from" if answer.forced else "you chose it over"
        words.append(Content.styled(f"  {verdict} {answer.corrected_from}", "$text-warning"))
    if answer.rating is not None:
        thumb = "  + good" if answer.rating == "good" else "  - bad, left out from here on"
        words.append(Content.styled(thumb, "$text-warning"))
    if sure := sure_words(answer):
        words.append(Content.styled(f" · {sure}", "$text-warning" if answer.doubts else "$muted"))
    if answer.original is not None or answer.chosen_from is not None:
        words.append(Content.styled("  edited", "$text-warning"))
    if answer.pair_procedure is not None:
        words.append(Content.styled(f"  a pair of {answer.pair_procedure}", "$text-success"))
    return words


def speed(answer: Answer) -> str:
    """``0.8 s · 35 tok/s``, as far as it is known."""
    if answer.timing is None or not answer.timing.get("total"):
        return ""
    rate = answer.tokens_per_second
    seconds = f"{answer.timing['total']:.1f} s"
    return seconds if rate is None else f"{seconds} · {rate:.0f} tok/s"


def how_made(answer: Answer) -> str:
    """Where the time of an answer went, and what its memory took of the context."""
    timing = answer.timing
    if timing is None or not timing.get("total"):
        return ""
    words = [
        f"read {timing['prefill']:.2f} s",
        f"route {timing['route']:.2f} s",
        f"first word after {timing['first_token']:.2f} s",
        f"{timing['tokens']} tokens",
    ]
    if answer.span:
        words.append(f"memory {answer.span}")
    elif answer.context is not None:
        words.append(f"context {answer.context['tokens']} of {answer.context['length']}")
    return " · ".join(words)
