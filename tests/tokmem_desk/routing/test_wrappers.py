"""What stands around a message does not move its route, and what is part of it stays."""

from __future__ import annotations

import pytest

from tokmem_desk.routing.routers import Candidate
from tokmem_desk.routing.wrappers import addressed, framed, without_address, without_frame

MESSAGE = "add two eggs to the list"


@pytest.mark.parametrize(
    "wrapper",
    [
        "[2024-11-03 14:22] {}",
        "2024-05-02T10:00:01Z <anna> {}",
        "14:05 Anna: {}",
        "Anna Smith (09:14): {}",
        "@bot {}",
        "Hi there! {}",
        "Guten Morgen, {}",
        "Hello,\n\n{}\n\nThanks,\nAnna",
        "{}\n--\nAnna",
        "> are you home\n> tell me\n\n{}",
        "On Tue, 3 Nov, Bob wrote:\n> are you home\n\n{}",
        "Context:\n```\nx = 1\n```\n\n{}",
        "{}\n\n```\nx = 1\n```",
        '<context file="a">\nfoo\n</context>\n{}',
        '<context file="a">\nfoo\n</context>\n[12:10] Kim: Hello! {}',
    ],
)
def test_what_stands_around_a_message_is_left_out(wrapper: str) -> None:
    assert without_address(without_frame(wrapper.format(MESSAGE))) == MESSAGE


@pytest.mark.parametrize("message", [MESSAGE, "next", "", "12:30", "> only a quote", "```\nx = 1\n```", "Anna: yes"])
def test_what_is_a_message_stays_one(message: str) -> None:
    assert without_address(without_frame(message)) == message.strip()


@pytest.mark.parametrize("message", ["Hi there! add two eggs", "milk, eggs and bread", "Ann: add two eggs"])
def test_an_address_is_no_frame(message: str) -> None:
    assert without_frame(message) == message


def ranked(**probabilities: float) -> list[Candidate]:
    return [Candidate(route, probability) for route, probability in probabilities.items()]


def test_without_its_frame_a_message_decides() -> None:
    clear = ranked(todo=0.9, none=0.1)
    assert framed(ranked(none=0.8, todo=0.2), clear)[0].route == "todo"
    # A stamp is like those of a log, what is left is plain.
    both = framed(ranked(log=0.9, none=0.1), ranked(none=0.98, log=0.02))
    assert both[0].route == "none" and sum(c.probability for c in both) == pytest.approx(1)
    assert framed(ranked(todo=0.7, none=0.3), clear) == ranked(todo=0.7, none=0.3), "they agree"
    # A threshold has put log behind none: it does not come back.
    assert framed(ranked(none=0.1, log=0.9), ranked(todo=0.6, none=0.4))[0].route != "log"


def test_without_an_address_a_message_decides_where_it_is_clear() -> None:
    clear = ranked(todo=0.9, none=0.1)
    assert addressed(ranked(none=0.8, todo=0.2), clear) == clear
    assert addressed(ranked(code=0.6, todo=0.4), clear) == clear
    for whole, inner in (
        (ranked(none=0.8, todo=0.2), ranked(none=0.6, todo=0.4)),
        (ranked(none=0.8, todo=0.2), ranked(todo=0.5, none=0.4)),
        (ranked(mail=0.95, todo=0.05), clear),
        (ranked(todo=0.7, none=0.3), clear),
    ):
        assert addressed(whole, inner) == whole


@pytest.mark.timeout(60)  # where it takes the square of the length, it takes minutes
@pytest.mark.parametrize("piece", ["\n", " ", "> a\n", "```a", "<a>", "\n-- ", "a:\n", "\n\n a"])
def test_a_message_of_one_sign_over_and_over_is_looked_through_at_once(piece: str) -> None:
    for count in (7_000 // len(piece), 200_000 // len(piece)):
        text = f"pay the rent{piece * count}x"
        assert isinstance(without_frame(text), str) and isinstance(without_address(text), str)
