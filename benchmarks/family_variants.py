"""Tiny random models of many families: the smallest configurations that show how a family differs.

What differs is how keys turn with their position, what layers keep of the past, windows, embeddings of single layers,
experts, and the output head. The weights are random, so every mistake shows in the numbers; nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_WINDOW = 12
_LAYERS = 2


@dataclass(frozen=True, slots=True)
class Variant:
    """One family's configuration.

    Attributes:
        config: the library's class.
        changes: fields that differ from ``_COMMON``; None takes a field out.
        form: the form of memory that it must get.
        reruns: everything runs from the beginning.
    """

    config: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    form: str = "layers"
    reruns: bool = False


_COMMON: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": _LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 3,
}
_SHAPE = {"head_dim": None}
_OLD = {"head_dim": None, "num_key_value_heads": None}
_GPT = {
    **dict.fromkeys(_COMMON), "n_positions": 256, "n_embd": 32, "n_layer": _LAYERS, "n_head": 4,
    "initializer_range": 0.2, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 3,
}  # fmt: skip
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
_ROUTED = {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
_LATENT = {
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8,
    "head_dim": None, "num_key_value_heads": 4,
}  # fmt: skip
_DELTA = {
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    "linear_conv_kernel_dim": 4,
}  # fmt: skip
_MAMBA2 = {
    "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 1, "mamba_d_state": 8, "mamba_d_conv": 4,
    "mamba_expand": 2, "mamba_chunk_size": 8,
}  # fmt: skip
_GRANITE = {
    "embedding_multiplier": 12.0, "logits_scaling": 6.0, "residual_multiplier": 0.22, "attention_multiplier": 0.0625,
}  # fmt: skip
_SLIDES: dict[str, Any] = {"sliding_window": _WINDOW, "layer_types": ["sliding_attention", "full_attention"]}
_THREE_OF_FOUR = {
    "num_hidden_layers": 4, "sliding_window": _WINDOW,
    "layer_types": ["sliding_attention"] * 3 + ["full_attention"],
}  # fmt: skip
_ALTERNATE = {"layer_types": ["linear_attention", "full_attention"]}


def _rope(share: float = 1.0, **more: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": share, **more}}


_GEMMA4 = {**_SLIDES, "global_head_dim": 16, "final_logit_softcapping": 30.0}
_LAYER_INPUTS = {"num_hidden_layers": 4, "layer_types": _SLIDES["layer_types"] * 2, "num_kv_shared_layers": 2}
_LONG = {"short_factor": [1.0, 1.2, 1.4, 1.6], "long_factor": [1.0, 4.0, 8.0, 16.0]}

VARIANTS: dict[str, Variant] = {
    # keys that turn in two halves, all of them
    "llama": Variant("LlamaConfig"),
    "llama-3.2": Variant(
        "LlamaConfig",
        {
            "tie_word_embeddings": True,
            "rope_parameters": {
                "rope_type": "llama3", "rope_theta": 5e5, "factor": 32.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
            },
        },
    ),
    "mistral-window": Variant("MistralConfig", {"sliding_window": _WINDOW}),
    "ministral-3": Variant(
        "Ministral3Config",
        {
            "rope_parameters": {
                "rope_type": "yarn", "rope_theta": 1e6, "factor": 16.0, "original_max_position_embeddings": 64,
                "beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1,
            }
        },
    ),
    "qwen2": Variant("Qwen2Config", _SHAPE),
    "qwen3": Variant("Qwen3Config", {"tie_word_embeddings": True}),
    "gemma": Variant("GemmaConfig"),
    "gemma2": Variant("Gemma2Config", {**_SLIDES, "query_pre_attn_scalar": 8}),
    "gemma3": Variant("Gemma3TextConfig", {**_SLIDES, "query_pre_attn_scalar": 8}),
    "olmo2": Variant("Olmo2Config", _SHAPE),
    "olmo3": Variant("Olmo3Config", {**_SHAPE, **_SLIDES}),
    "granite": Variant("GraniteConfig", {**_SHAPE, **_GRANITE}),
    "seed-oss": Variant("SeedOssConfig"),
    "apertus": Variant("ApertusConfig", _SHAPE),
    "diffllama": Variant("DiffLlamaConfig"),
    # in part
    "phi": Variant("PhiConfig", {**_SHAPE, **_rope(0.5)}),
    "stablelm": Variant("StableLmConfig", {**_SHAPE, **_rope(0.25)}),
    "nemotron": Variant("NemotronConfig", _rope(0.5)),
    "gpt-neox": Variant("GPTNeoXConfig", {**_OLD, **_rope(0.25)}),
    # beyond its first length otherwise
    "phi-4-mini": Variant(
        "Phi3Config",
        {
            **_SHAPE, "original_max_position_embeddings": 128,
            "rope_parameters": {
                "rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 128, **_LONG
            },
        },
    ),
    # in neighbours
    "glm4": Variant("Glm4Config", _rope(0.5)),
    "cohere": Variant("CohereConfig", {**_SHAPE, "logit_scale": 0.5}),
    "ernie-4.5": Variant("Ernie4_5Config"),
    "helium": Variant("HeliumConfig"),
    "gptj": Variant("GPTJConfig", {**_GPT, "rotary_dim": 4}),
    # angles once in the table, experts, sinks
    "gpt-oss": Variant(
        "GptOssConfig",
        {
            **_SLIDES, "num_local_experts": 4, "num_experts_per_tok": 2,
            "rope_parameters": {
                "rope_type": "yarn", "rope_theta": 1.5e5, "factor": 4.0, "beta_fast": 32.0, "beta_slow": 1.0,
                "truncate": False, "original_max_position_embeddings": 64,
            },
        },
    ),
    # complex tables
    "llama4": Variant(
        "Llama4TextConfig",
        {
            "num_hidden_layers": 4, "num_local_experts": 4, "num_experts_per_tok": 1, "intermediate_size_mlp": 48,
            "attention_chunk_size": _WINDOW, "no_rope_layers": [1, 1, 1, 0], "interleave_moe_layer_step": 2,
            "layer_types": ["chunked_attention"] * 3 + ["full_attention"],
        },
    ),
    "deepseek-v2": Variant(
        "DeepseekV2Config", {**_LATENT, **_ROUTED, "first_k_dense_replace": 1, "topk_method": "greedy"}
    ),
    # the part that turns at the end
    "deepseek-v3": Variant(
        "DeepseekV3Config",
        {**_LATENT, **_ROUTED, "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1, "num_mtp_layers": 0},
    ),
    "minicpm3": Variant("MiniCPM3Config", {**_LATENT, "dim_model_base": 16}),
    # some layers, none, the other way round, and a norm behind
    "smollm3": Variant("SmolLM3Config", {**_SHAPE, "num_hidden_layers": 4, "no_rope_layers": [1, 1, 1, 0]}),
    "exaone4": Variant("Exaone4Config", _THREE_OF_FOUR),
    "cohere2": Variant("Cohere2Config", {**_SHAPE, **_THREE_OF_FOUR, "logit_scale": 0.5}),
    "nanochat": Variant("NanoChatConfig", _SHAPE),
    "hunyuan": Variant("HunYuanDenseV1Config", _rope(1.0)),
    "gpt2": Variant("GPT2Config", _GPT),
    "opt": Variant(
        "OPTConfig",
        {**_OLD, "intermediate_size": None, "initializer_range": None, "ffn_dim": 48, "init_std": 0.2,
         "word_embed_proj_dim": 32},
    ),
    "bloom": Variant(
        "BloomConfig",
        {**dict.fromkeys(_COMMON), "hidden_size": 32, "n_layer": _LAYERS, "n_head": 4, "initializer_range": 0.2,
         "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 3},
    ),
    # embeddings of single layers, keys of another layer
    "gemma3n": Variant(
        "Gemma3nTextConfig",
        {
            **_SLIDES, **_LAYER_INPUTS, "hidden_size_per_layer_input": 4, "laurel_rank": 4, "altup_num_inputs": 2,
            "activation_sparsity_pattern": [0.0] * 4, "intermediate_size": [48] * 4, "vocab_size_per_layer_input": 0,
        },
    ),
    "gemma4-e2b": Variant(
        "Gemma4TextConfig",
        {**_GEMMA4, **_LAYER_INPUTS, "hidden_size_per_layer_input": 4, "vocab_size_per_layer_input": 0},
    ),
    "gemma4-31b": Variant(
        "Gemma4TextConfig",
        {**_GEMMA4, "num_global_key_value_heads": 1, "attention_k_eq_v": True, "hidden_size_per_layer_input": 0},
    ),
    # experts
    "qwen3-moe": Variant("Qwen3MoeConfig", _EXPERTS),
    "mixtral": Variant("MixtralConfig", {"num_local_experts": 4}),
    "olmoe": Variant("OlmoeConfig", {**_SHAPE, "num_experts": 4, "num_experts_per_tok": 2}),
    "glm4-moe": Variant("Glm4MoeConfig", {**_ROUTED, "first_k_dense_replace": 1, "num_mtp_layers": 0}),
    "afmoe": Variant("AfmoeConfig", {**_EXPERTS, **_THREE_OF_FOUR, "num_shared_experts": 1}),
    # layers that carry a state
    "qwen3.5": Variant("Qwen3_5TextConfig", {**_DELTA, **_ALTERNATE}),
    "qwen3-next": Variant(
        "Qwen3NextConfig", {**_DELTA, **_ALTERNATE, **_EXPERTS, "shared_expert_intermediate_size": 16}
    ),
    "lfm2": Variant(
        "Lfm2Config", {**_SHAPE, "layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False}
    ),
    "granite4-h": Variant(
        "GraniteMoeHybridConfig",
        {
            **_SHAPE, **_MAMBA2, **_GRANITE, "layer_types": ["mamba", "attention"], "shared_intermediate_size": 16,
            "num_local_experts": 4, "num_experts_per_tok": 2, "position_embedding_type": "nope",
        },
    ),
    "nemotron-h": Variant(
        "NemotronHConfig",
        {
            "num_hidden_layers": None, "layers_block_type": ["mamba", "attention", "mlp"], "ssm_state_size": 8,
            "mamba_num_heads": 8, "mamba_head_dim": 8, "n_groups": 1, "chunk_size": 8,
            "mamba_ssm_cache_dtype": "float32",
        },
    ),
    "bamba": Variant("BambaConfig", {**_SHAPE, **_MAMBA2, "attn_layer_indices": [1]}),
    "falcon-h1": Variant("FalconH1Config", {**_MAMBA2, "mamba_d_ssm": 64}),
    "zaya": Variant("ZayaConfig", {**_EXPERTS, "num_experts_per_tok": 1, "router_hidden_size": 8}),
    "olmo-hybrid": Variant("OlmoHybridConfig", {**_SHAPE, **_DELTA, **_ALTERNATE}),
    # nothing but states
    "mamba2": Variant(
        "Mamba2Config",
        {
            **dict.fromkeys(("num_attention_heads", "num_key_value_heads", "intermediate_size")), "num_heads": 8,
            "max_position_embeddings": None, "n_groups": 1, "state_size": 8, "expand": 2, "chunk_size": 8,
        },
        form="rows",
    ),
    "mamba": Variant(
        "MambaConfig",
        {
            **dict.fromkeys(("num_attention_heads", "num_key_value_heads", "intermediate_size", "head_dim")),
            "max_position_embeddings": None, "state_size": 4,
        },
        form="rows",
        reruns=True,
    ),
    "jamba": Variant(
        "JambaConfig",
        {
            **_SHAPE, "num_experts": 4, "num_experts_per_tok": 2, "attn_layer_period": 2, "attn_layer_offset": 1,
            "mamba_d_state": 4, "mamba_dt_rank": 4,
        },
        form="rows",
        reruns=True,
    ),
}  # fmt: skip


def build(variant: Variant, vocabulary: int) -> Any:
    """A model of random weights in float32, the same every time.

    Args:
        vocabulary: tokens of the tokenizer that it is used with.
    """
    import torch
    import transformers
    from transformers import AutoModelForCausalLM

    fields = {**_COMMON, **variant.changes, "vocab_size": vocabulary}
    if "vocab_size_per_layer_input" in fields:
        fields["vocab_size_per_layer_input"] = vocabulary
    config = getattr(transformers, variant.config)(**{key: value for key, value in fields.items() if value is not None})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        for name, parameter in model.named_parameters():
            if not bool(torch.isfinite(parameter).all()) or ("expert" in name and float(parameter.abs().max()) > 10):
                parameter.data.normal_(0.0, 0.2)
            # Freshly built models have biases of zero and norms of one, which would hide mistakes.
            if name.endswith("bias") or "norm" in name or "sinks" in name:
                parameter.data += 0.2 * torch.randn_like(parameter)
            if "correct_output_scale" in name:
                parameter.data.normal_(1.0, 0.3)
        for buffer in model.buffers():
            if buffer.is_floating_point() and not bool(torch.isfinite(buffer).all()):
                buffer.data.zero_()
    return model.eval()
