"""What cannot be used is refused by its configuration, with the reason and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from tokmem_desk.errors import IncompatibleError, OutOfMemoryError
from tokmem_desk.models.hardware_fit import Machine
from tokmem_desk.models.suitability import Candidate, check_candidate, check_memory

GIB = 2**30

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "own code": (
        {"model_type": "evil", "auto_map": {"AutoModelForCausalLM": "evil.Model"}},
        r"run by code of its own \(evil.Model\), which is never run here",
    ),
    "unknown family": ({"model_type": "gpt9"}, "its family, 'gpt9', is not known to transformers"),
    "no language model": (
        {"model_type": "bert", "architectures": ["BertModel"]},
        "is a BertModel, not a causal language model",
    ),
    "an encoder with a decoder": (
        {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]},
        "is a T5ForConditionalGeneration, not a causal language model",
    ),
    "a text part that is none": (
        {"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"], "text_config": {"model_type": "x"}},
        "its text part is of the family 'x'",
    ),
    "gptq": ({"model_type": "llama", "quantization_config": {"quant_method": "gptq"}}, "quantised it by 'gptq'"),
    "fp8 in a wrapper": (
        {
            "model_type": "mistral3",
            "text_config": {"model_type": "ministral3", "quantization_config": {"quant_method": "fp8"}},
        },
        "quantised it by 'fp8'",
    ),
    "8 bit": (
        {"model_type": "llama", "quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
        "quantised it to 8 bit",
    ),
    "no group": ({"model_type": "llama", "quantization_config": "yes"}, "is not a group of fields"),
}

TAKEN: dict[str, dict[str, Any]] = {
    "a family that transformers knows, with code beside it": {
        "model_type": "phi3",
        "architectures": ["Phi3ForCausalLM"],
        "auto_map": {"AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM"},
    },
    "Mistral 3": {
        "model_type": "mistral3",
        "architectures": ["Mistral3ForConditionalGeneration"],
        "text_config": {"model_type": "ministral3"},
    },
    "Qwen2.5-VL as published": {
        "model_type": "qwen2_5_vl",
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "hidden_size": 2048,
        "vision_config": {},
    },
    "Qwen3-VL": {
        "model_type": "qwen3_vl",
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "text_config": {"model_type": "qwen3_vl_text"},
    },
    "LFM2-VL": {
        "model_type": "lfm2_vl",
        "architectures": ["Lfm2VlForConditionalGeneration"],
        "text_config": {"model_type": "lfm2"},
    },
    "SmolVLM": {
        "model_type": "smolvlm",
        "architectures": ["SmolVLMForConditionalGeneration"],
        "text_config": {"model_type": "llama"},
    },
    "Gemma 3 4B": {
        "model_type": "gemma3",
        "architectures": ["Gemma3ForConditionalGeneration"],
        "text_config": {"model_type": "gemma3_text"},
    },
    "4 bit by bitsandbytes": {
        "model_type": "llama",
        "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True},
    },
    "a folder that says nothing": {},
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_reason(case: str) -> None:
    fields, words = REFUSED[case]
    with pytest.raises(IncompatibleError, match=words) as caught:
        check_candidate(Candidate("some/model", fields))
    assert caught.value.next_step


@pytest.mark.parametrize("case", TAKEN)
def test_taken(case: str) -> None:
    check_candidate(Candidate("some/model", TAKEN[case]))


@pytest.mark.parametrize(
    ("candidate", "fits"),
    [
        (Candidate("some/model", {}, parameters=8_000_000_000), True),
        (Candidate("some/model", {}, parameters=70_000_000_000), False),
        (Candidate("some/model", {"dtype": "bfloat16"}, weight_bytes=140_000_000_000), False),
        (Candidate("some/model", {"dtype": "float32"}, weight_bytes=32_000_000_000), True),
        (Candidate("some/model", {}), True),
    ],
)
def test_a_model_larger_than_all_memory_is_refused(candidate: Candidate, fits: bool) -> None:
    machine = Machine(cores=2, processor="", memory_bytes=16 * GIB, free_bytes=8 * GIB)
    if fits:
        check_memory(candidate, machine)
        return
    with pytest.raises(
        OutOfMemoryError, match=r"70.0 billion .* 39.1 GiB in 4 bit; .* 16.0 GiB .* Nothing was fetched"
    ):
        check_memory(candidate, machine)
