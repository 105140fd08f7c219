"""``/v1/completions``: a prompt in the place of messages, and the answer as text. Editors still ask this way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tui.engine_client.protocol import Message
from tui.serve.answers import Reply, finish_reason, sum_of_usage
from tui.serve.fields import flag_of, whole_of, wrong
from tui.serve.logprobs import shown_tokens, text_logprobs
from tui.serve.requests import ChatRequest, read_body

_TAKEN = ("prompt", "best_of", "echo", "suffix", "logprobs", "top_logprobs")


def read_completion(body: dict[str, Any], backbone: str) -> ChatRequest:
    """Check a body; the prompt is the message.

    Raises:
        ApiError: 400, naming the field.
    """
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise wrong("prompt", "must be one text.")
    refused = {
        "best_of": whole_of(body, "best_of", 1) not in (None, whole_of(body, "n", 1) or 1),
        "echo": flag_of(body, "echo"),
        "suffix": bool(body.get("suffix")),
    }
    for name, given in refused.items():
        if given:
            raise wrong(
                name,
                "is not supported here: answers are text, as many as n says.",
                code="unsupported_parameter",
            )
    rest = {name: value for name, value in body.items() if name not in _TAKEN}
    others = whole_of(body, "logprobs", 0)
    if others is not None:
        rest |= {"logprobs": True, "top_logprobs": others}
    return read_body({**rest, "messages": [{"role": "user", "content": prompt}]}, backbone)


class CompletionReply(Reply):
    """The objects that go back for a completion."""

    def whole(self, results: Sequence[Message]) -> dict[str, Any]:
        """A completion with all answers."""
        choices = [
            self._one(result["response"], place, finish_reason(result), self._logprobs(result))
            for place, result in enumerate(results)
        ]
        return {
            **self._text(""),
            "choices": choices,
            "usage": sum_of_usage(results),
            "tokmem": self._route(results[0]) | {"timing": results[0]["timing"]},
        }

    def first(self, route: Message) -> list[dict[str, Any]]:
        """The chunk that opens an answer, with the route."""
        return [self._text("") | {"tokmem": self._route(route)}]

    def piece(self, text: str) -> list[dict[str, Any]]:
        """A chunk of text."""
        return [self._text(text)]

    def last(self, result: Message) -> list[dict[str, Any]]:
        """The chunk that ends an answer."""
        end = self._text("")
        end["choices"] = [self._one("", self.choice, finish_reason(result), self._logprobs(result))]
        return [end | {"tokmem": self._route(result) | {"timing": result["timing"]}}]

    def end(self, results: Sequence[Message]) -> list[dict[str, Any]]:
        """The chunks that end a stream: the usage where it was asked for."""
        if not self.request.include_usage:
            return []
        return [{**self._text(""), "choices": [], "usage": sum_of_usage(results)}]

    def _text(self, text: str) -> dict[str, Any]:
        return {**self._head, "object": "text_completion", "choices": [self._one(text, self.choice)]}

    def _one(
        self, text: str, place: int, reason: str | None = None, logprobs: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        return {"text": text, "index": place, "logprobs": logprobs, "finish_reason": reason}

    def _logprobs(self, result: Message) -> dict[str, Any] | None:
        return text_logprobs(shown_tokens(self.request, result))
