"""The methods of ``compositional``, by the names that results use."""

from __future__ import annotations

from benchmarks.calls.base import CallLearner, CallMethod, Calls
from benchmarks.calls.chains import learn_adapted, learn_chain
from benchmarks.calls.lora import learn_lora
from benchmarks.calls.ours import learn_ours
from benchmarks.calls.prompts import learn_demonstrations, learn_retrieval

METHODS: dict[str, CallLearner] = {
    "icl": learn_demonstrations,
    "rag": learn_retrieval,
    "lora": learn_lora,
    "tokmem": learn_chain,
    "tokmem-adapted": learn_adapted,
    "ours": learn_ours,
}

__all__ = ["METHODS", "CallLearner", "CallMethod", "Calls"]
