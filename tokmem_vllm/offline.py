"""vLLM in this process, asked under memories: what benchmarks and tests ask it with."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tokmem_vllm.bank_service import BankService
from tokmem_vllm.model_facts import ModelFacts
from tokmem_vllm.prompts import answering_prompt, answering_wish, reading_wish
from tokmem_vllm.versions import check_versions

Question = tuple[str, str, list[int]]
"""Person, digest of a memory of theirs, token ids of the message."""


class Vllm:
    """An engine with the connector.

    Args:
        model: folder that ``plain_model`` wrote.
        banks: folder or URL of all people's memories.
        dtype: in which it computes.
        banks_options: for fsspec.
        options: of ``vllm.LLM`` besides.

    Raises:
        IncompatibleError: this vLLM was not tried, or the folder is none of ours.
    """

    def __init__(
        self,
        model: Path,
        banks: Path | str,
        dtype: str = "float32",
        banks_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        found = check_versions()
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        from vllm import LLM

        self._facts = ModelFacts.read(model, getattr(torch, dtype))
        self._files = BankService(str(banks), self._facts, options=banks_options)
        connector = {
            "kv_connector": "TokmemConnector",
            "kv_connector_module_path": "tokmem_vllm.connector",
            "kv_role": "kv_both",
            "kv_load_failure_policy": "fail",
            "kv_connector_extra_config": {"banks": str(banks), "banks_options": banks_options or {}},
        }
        most = json.loads((model / "config.json").read_text(encoding="utf-8"))["max_position_embeddings"]
        usual = {"enforce_eager": True, "max_model_len": min(1024, most), "disable_hybrid_kv_cache_manager": True}
        self.llm = LLM(
            model=str(model),
            dtype=dtype,
            enable_prompt_embeds=True,
            kv_transfer_config=connector,
            **{**usual, **options},
        )
        self.facts = {"vllm": found, "torch": torch.__version__}

    def read(self, questions: Sequence[Question]) -> None:
        """Read all messages; those that several ask are read once for each person."""
        wishes = {reading_wish(person, ids): ids for person, _, ids in questions}
        prompts = [{"prompt_token_ids": list(ids)} for ids in wishes.values()]
        settings = [self._settings([], 1, extra_args={"kv_transfer_params": w.as_params()}) for w in wishes]
        self.llm.generate(prompts, settings, use_tqdm=False)

    def ask(self, questions: Sequence[Question], stop: Sequence[int], limit: int, **more: Any) -> list[Any]:
        """Outputs of vLLM for messages that have been read, all in one batch."""
        prompts, settings = [], []
        for person, digest, ids in questions:
            memory = self._files.memory(person, digest)
            wish = answering_wish(person, ids, digest, memory)
            prompts.append({"prompt_embeds": answering_prompt(self._facts, ids, memory), "cache_salt": wish.salt})
            settings.append(self._settings(stop, limit, extra_args={"kv_transfer_params": wish.as_params()}, **more))
        return list(self.llm.generate(prompts, settings, use_tqdm=False))

    def answer(self, questions: Sequence[Question], stop: Sequence[int], limit: int) -> list[list[int]]:
        """Token ids of each answer, without the one that ends it."""
        self.read(questions)
        ends = set(stop)
        return [
            [token for token in output.outputs[0].token_ids if token not in ends]
            for output in self.ask(questions, stop, limit)
        ]

    def first_logprobs(self, person: str, digest: str, ids: list[int], count: int = 20) -> dict[int, float]:
        """Log probabilities of the likeliest first tokens of an answer."""
        (output,) = self.ask([(person, digest, ids)], [], 1, logprobs=count)
        return {token: found.logprob for token, found in output.outputs[0].logprobs[0].items()}

    def plain(self, prompts: Sequence[list[int]], lengths: Sequence[int]) -> list[Any]:
        """Ordinary requests, each with an answer of exactly that length."""
        settings = [self._settings([], length, ignore_eos=True) for length in lengths]
        return list(self.llm.generate([{"prompt_token_ids": p} for p in prompts], settings, use_tqdm=False))

    @staticmethod
    def _settings(stop: Sequence[int], limit: int, **more: Any) -> Any:
        from vllm import SamplingParams

        return SamplingParams(temperature=0.0, max_tokens=limit, stop_token_ids=list(stop), detokenize=False, **more)
