"""The text part of a model that also reads images or sound: its configuration and its tensors, alone.

Such a wrapper keeps a language model of an ordinary family in ``text_config``, and its tensors under a prefix. What
belongs to images and sound is never read, so that neither disk nor memory holds it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tokmem_desk.models.lazy_tensors import LazyTensor, LazyTensors

TWINS = {
    "qwen2_vl_text": "qwen2",
    "qwen2_5_vl_text": "qwen2",
    "qwen3_vl_text": "qwen3",
    "qwen3_vl_moe_text": "qwen3_moe",
}
"""Text parts that are an ordinary family under another name. They rotate by three positions at once, for time, height
and width; text has the same in all three, which is what the family does."""

_OF_IMAGES = ("mrope_section", "mrope_interleaved")
_OTHER_PARTS = re.compile(
    r"(?:^|\.)(?:vision\w*|visual\w*|audio\w*|speech\w*|multi_modal_projector|mm_projector|connector|embed_vision"
    r"|embed_audio|image_newline|aligner|talker|token2wav)(?:\.|$)"
)
_PREFIX = re.compile(r"^(?:thinker\.)?(?:model\.)?(?:language_model|text_model)\.(?P<rest>.+)$")


def text_model_type(fields: Mapping[str, Any]) -> str | None:
    """The family of a configuration's text part, as it can be used; None where the configuration is no wrapper."""
    text = fields.get("text_config")
    if not isinstance(text, dict):
        # The first of these wrote what concerns text beside what concerns images.
        return TWINS.get(f"{fields.get('model_type')}_text")
    kind = text.get("model_type")
    if kind is None:
        # Old wrappers name no family where it is the one that their makers had in mind.
        kind = {"llava": "llama", "llava_next": "llama", "idefics2": "mistral", "mistral3": "mistral"}.get(
            str(fields.get("model_type")), ""
        )
    return TWINS.get(str(kind), str(kind))


def text_config(config: Any, *, has_head: bool) -> Any:
    """The configuration of a wrapper's text part, of a family that loads by itself.

    Args:
        config: a loaded transformers configuration.
        has_head: whether the checkpoint has an output head of its own.
    """
    from transformers import CONFIG_MAPPING

    text = config.get_text_config(decoder=True)
    kind = TWINS.get(text.model_type)
    if kind is not None:
        fields = text.to_dict()
        rope = {key: value for key, value in (fields.get("rope_parameters") or {}).items() if key not in _OF_IMAGES}
        if rope.get("rope_type") == "mrope":
            rope["rope_type"] = "default"
        fields["rope_parameters"] = rope
        for gone in ("model_type", "rope_scaling", *_OF_IMAGES):
            fields.pop(gone, None)
        text = CONFIG_MAPPING[kind](**fields)
    text.tie_word_embeddings = not has_head
    for key in ("eos_token_id", "bos_token_id", "pad_token_id"):
        if getattr(text, key, None) is None and getattr(config, key, None) is not None:
            setattr(text, key, getattr(config, key))
    return text


def text_tensors(tensors: LazyTensors) -> dict[str, LazyTensor]:
    """The tensors of a wrapper's text part, under the names they have in a model of text alone."""
    found = {}
    for name, tensor in tensors.items():
        if _OTHER_PARTS.search(name):
            continue
        match = _PREFIX.match(name)
        rest = match["rest"] if match else name
        if match and not rest.startswith(("lm_head.", "model.")):
            rest = f"model.{rest}"
        found[rest] = tensor
    return found
