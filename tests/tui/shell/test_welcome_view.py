"""What First steps show of a result."""

from __future__ import annotations

from tui.engine_client.protocol import ScoreSample
from tui.shell.welcome_view import first_try


def sample(text: str, expected: str, got: str) -> ScoreSample:
    return {"input": text, "expected": expected, "got": got, "base": "?"}


def test_the_first_try_is_one_that_came_out_right() -> None:
    wrong, right = sample("a", "good", "ok"), sample("b", "bad", "bad ")
    assert first_try({"samples": [wrong, right]}) == right
    assert first_try({"samples": [wrong]}) == wrong, "where none did, it is shown as it is"
    assert first_try({"samples": []}) is None and first_try({}) is None
