"""The route of an answer with its probability, and the next most probable routes, as text. Draws nothing itself."""

from __future__ import annotations

from textual.content import Content

from tokmem_desk.procedures import NONE_ROUTE
from tui.chat.turns import Answer
from tui.kit.bar import bar

RUNNERS_UP = 3
BAR_CELLS = 16


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
    if made := how_made(answer):
        lines.append(Content.styled(f"  {made}", "$muted"))
    return Content("\n").join(lines)


def route_words(route: str, probability: float | None) -> list[Content]:
    """A route as a sign and words, so that colour is not needed."""
    is_none = route == NONE_ROUTE
    words = [
        Content.styled("○ " if is_none else "◆ ", "$muted" if is_none else "$primary"),
        Content.styled(route, "bold $text" if is_none else "bold $primary"),
    ]
    if probability is not None:
        words.append(Content(f" {percent(probability)}"))
    return words


def _route_words(answer: Answer) -> list[Content]:
    """The route of the answer, and everything that was done with it."""
    words = route_words(str(answer.route), None if answer.forced else answer.probability)
    if answer.guest:
        words.append(Content.styled("  imported, not accepted yet", "$text-warning"))
    if answer.forced and answer.corrected_from is None:
        words.append(Content(" your choice"))
    if answer.corrected_from is not None:
        words.append(Content.styled(f"  corrected from {answer.corrected_from}", "$text-warning"))
    if answer.rating is not None:
        thumb = "  + good" if answer.rating == "good" else "  - bad, left out from here on"
        words.append(Content.styled(thumb, "$text-warning"))
    if answer.original is not None:
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
        words.append(f"span {answer.span}")
    elif answer.context is not None:
        words.append(f"context {answer.context['tokens']} of {answer.context['length']}")
    return " · ".join(words)


def percent(probability: float) -> str:
    """A probability as a person reads it; 100% and 0% are kept for the exact values."""
    if 0.995 <= probability < 1:
        return ">99%"
    if 0 < probability < 0.005:
        return "<1%"
    return f"{probability:.0%}"
