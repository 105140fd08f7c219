"""What keeping a conversation's keys and values saves: time to the first token over many turns, with and without."""

from __future__ import annotations

import statistics
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from tokmem_desk import background
from tokmem_desk.backbone.chat_format import Turn
from tokmem_desk.backbone.conversation_cache import ConversationCache
from tokmem_desk.generation.recall import Answer, Bank, recall
from tokmem_desk.procedures import NONE_ROUTE
from tokmem_desk.routing.routers import TokenRouter

if TYPE_CHECKING:
    from benchmarks.methods import Context
    from tokmem_desk.backbone.conversation_cache import OwnedCache

TURNS = 20
_ANSWER_TOKENS = 16
_BUDGET_MB = 1024


def measure_conversation(context: Context, turns: int = TURNS) -> dict[str, Any]:
    """First-token seconds of each turn of one plain chat; both kinds answer every turn, one after the other."""
    backbone = context.backbone
    bank = Bank({}, TokenRouter(backbone, []))
    cache = ConversationCache(backbone, _BUDGET_MB).of("benchmark")
    messages = list(islice(cycle(background.chat_for_measuring()), turns))
    # The packed form of the weights is made at the first decoding step: not part of what is timed.
    _answer(context, bank, messages[0], [], None)
    said: list[Turn] = []
    rows = []
    same = 0
    for message in messages:
        fresh = _answer(context, bank, message, said, None)
        reused = _answer(context, bank, message, said, cache)
        same += fresh.response == reused.response
        rows.append(
            {
                "tokens": reused.prompt_tokens,
                "fresh_seconds": fresh.timing.first_token,
                "reused_seconds": reused.timing.first_token,
            }
        )
        said += [Turn("user", message), Turn("assistant", reused.response)]
    last = rows[-(turns // 4) :]
    return {
        "turns": rows,
        "same_answers": same,
        "kept_mb": cache.cache.bytes / 2**20,
        "ratio_last_quarter": statistics.median(row["fresh_seconds"] / row["reused_seconds"] for row in last),
    }


def _answer(context: Context, bank: Bank, message: str, said: list[Turn], cache: OwnedCache | None) -> Answer:
    options: dict[str, Any] = {"route": NONE_ROUTE, "max_tokens": _ANSWER_TOKENS}
    *_, end = recall(context.backbone, bank, message, conversation=said, cache=cache, **options)
    assert isinstance(end, Answer)
    return end
