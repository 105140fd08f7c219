"""How likely the tokens of an answer were, in OpenAI's forms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tui.engine_client.protocol import Message
from tui.serve.requests import ChatRequest


def shown_tokens(request: ChatRequest, result: Message) -> list[Message] | None:
    """The tokens of the text that is shown; None where they were not asked for, or are not known.

    Args:
        result: its ``response`` is without what the client began, and ends at the first stop text.
    """
    tokens = result.get("tokens")
    if request.others is None or tokens is None or "call" in result:
        return None
    found, at = [], -len(request.beginning)
    for token in tokens:
        behind = at + len(token["text"])
        if at < len(result["response"]) and behind > 0:
            found.append(token)
        at = behind
    return found


def chat_logprobs(tokens: Sequence[Message] | None) -> dict[str, Any] | None:
    """As a choice of a chat completion has them."""
    return None if tokens is None else {"content": token_entries(tokens), "refusal": None}


def token_entries(tokens: Sequence[Message]) -> list[dict[str, Any]]:
    """Each token with the likeliest in its place."""
    return [
        {**_entry(token["text"], token["log"]), "top_logprobs": [_entry(text, log) for text, log in token["others"]]}
        for token in tokens
    ]


def _entry(text: str, log: float) -> dict[str, Any]:
    return {"token": text, "logprob": log, "bytes": list(text.encode("utf-8", "replace"))}


def text_logprobs(tokens: Sequence[Message] | None) -> dict[str, Any] | None:
    """As a choice of a completion of a prompt has them."""
    if tokens is None:
        return None
    starts, at = [], 0
    for token in tokens:
        starts.append(at)
        at += len(token["text"])
    return {
        "tokens": [token["text"] for token in tokens],
        "token_logprobs": [token["log"] for token in tokens],
        "top_logprobs": [dict(token["others"]) for token in tokens],
        "text_offset": starts,
    }
