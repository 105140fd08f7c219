"""Tiny random causal language models, saved as folders that load like real ones.

A few hundred KB each: byte-level BPE tokenizer, 2 to 4 layers, float32. The weights are drawn wide enough that
logits differ clearly, so that a wrong position or mask shows in the numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

FAMILIES = ("llama", "qwen2", "qwen3", "gemma3")
"""llama: tied; qwen2: untied, biases; qwen3: query and key norms; gemma3: sliding windows of 16, scaled embeddings."""

RECURRENT = ("lfm2", "qwen3_next", "mamba")
"""lfm2: short convolutions; qwen3_next: a gated delta rule, and experts; both with attention between. mamba: nothing
else."""

WINDOW = 16

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>")

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

_OF_ATTENTION = ("intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim")

_TEXT = (
    "What is the weather today? Turn the note into a table row. Write a commit message for this change.",
    "The quick brown fox jumps over the lazy dog. Paid 12.50 for lunch on 3 May with the blue card.",
    "Please answer in one word: is this sentence positive or negative? Thanks, see you on Monday!",
    'user assistant system message answer query response Message Answer 0123456789 {"key": [1, 2, 3]}',
)


def tiny_tokenizer(*, template: bool = True) -> Any:
    """A byte-level BPE tokenizer of about 400 tokens with ChatML's special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXT, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=SPECIAL[0],
        eos_token=SPECIAL[2] if template else SPECIAL[0],
        pad_token=SPECIAL[3],
        additional_special_tokens=[SPECIAL[1], SPECIAL[2]],
    )
    if template:
        fast.chat_template = CHAT_TEMPLATE
    return fast


def tiny_config(family: str, vocabulary: int, **changes: Any) -> Any:
    """Configuration of a tiny model of that family; ``changes`` override single values."""
    import transformers

    common: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 512,
        "initializer_range": 0.15,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 3,
    }
    by_family: dict[str, dict[str, Any]] = {
        "llama": {"tie_word_embeddings": True},
        "qwen2": {"tie_word_embeddings": False},
        "qwen3": {"tie_word_embeddings": True},
        "gemma3": {
            "num_hidden_layers": 4,
            "sliding_window": WINDOW,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "sliding_attention"],
            "query_pre_attn_scalar": 16,
            "tie_word_embeddings": True,
        },
        "lfm2": {
            "num_hidden_layers": 4,
            "layer_types": ["conv", "full_attention", "conv", "full_attention"],
            "conv_L_cache": 3,
        },
        "qwen3_next": {
            "num_hidden_layers": 4,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "linear_key_head_dim": 16,
            "linear_value_head_dim": 16,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 32,
            "shared_expert_intermediate_size": 32,
        },
        "mamba": {"state_size": 8},
        "phi3": {"tie_word_embeddings": True},
        "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64},
    }
    kind = {
        "llama": transformers.LlamaConfig,
        "qwen2": transformers.Qwen2Config,
        "qwen3": transformers.Qwen3Config,
        "gemma3": transformers.Gemma3TextConfig,
        "lfm2": transformers.Lfm2Config,
        "qwen3_next": transformers.Qwen3NextConfig,
        "mamba": transformers.MambaConfig,
        "phi3": transformers.Phi3Config,
        "qwen3_moe": transformers.Qwen3MoeConfig,
    }[family]
    fields = {**common, **by_family[family], **changes}
    if family in ("qwen2", "phi3"):
        del fields["head_dim"]
    if family == "mamba":
        fields = {name: fields[name] for name in fields if name not in _OF_ATTENTION}
    return kind(**fields)


def save_tiny_model(folder: Path, family: str, *, template: bool = True, seed: int = 0, **changes: Any) -> Path:
    """Build a tiny model and its tokenizer and save both as a publisher would."""
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = tiny_tokenizer(template=template)
    config = tiny_config(family, len(tokenizer), **changes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        for name, parameter in model.named_parameters():
            # Freshly built models have biases of zero and norms of one, which would hide mistakes.
            if name.endswith("bias") or "norm" in name:
                parameter.data += 0.2 * torch.randn_like(parameter)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
