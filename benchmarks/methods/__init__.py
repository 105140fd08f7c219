"""The methods of ``personal`` and ``atomic``, by the names that results use."""

from __future__ import annotations

from benchmarks.methods.base import Context, Learned, Learner, Reply
from benchmarks.methods.lora import learn_lora, learn_lora_replay
from benchmarks.methods.memories import learn_ours, learn_tokmem, learn_tokmem_tuned
from benchmarks.methods.prompts import learn_base, learn_demonstrations, learn_retrieval

METHODS: dict[str, Learner] = {
    "base": learn_base,
    "icl": learn_demonstrations,
    "rag": learn_retrieval,
    "lora": learn_lora,
    "lora-replay": learn_lora_replay,
    "tokmem": learn_tokmem,
    "tokmem-tuned": learn_tokmem_tuned,
    "ours": learn_ours,
}

SEEDLESS = ("base", "icl", "rag")
"""Methods in which nothing is random: the same pairs give the same answers, whatever the seed."""

__all__ = ["METHODS", "SEEDLESS", "Context", "Learned", "Learner", "Reply"]
