"""How a GGUF file says that positions are stretched, as the fields that transformers has for it.

transformers reads the base of the rotation from a GGUF file and drops the rest: the factors of Llama 3.1 and 3.2
(``rope_freqs.weight``), the long and short factors of Phi (``rope_factors_long.weight``), the linear factor of Gemma 3
from 4B on and YaRN. A model that is read so is right for a few words and wrong at length. Here they are set; what
cannot be is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokmem_desk.errors import IncompatibleError

FREQUENCIES = "rope_freqs.weight"
LONG, SHORT = "rope_factors_long.weight", "rope_factors_short.weight"
ROPE_TENSORS = frozenset({FREQUENCIES, LONG, SHORT})
"""Tensors of a GGUF file that become fields of the configuration."""

_TOLERANCE = 1e-3
_UNMOVED = 1e20
"""A factor above this turns a pair by nothing."""
_PARTIAL = ("phi3", "stablelm", "nemotron")
"""Families that turn a part of each head, whose share transformers leaves at the family's default."""


def set_rope(config: Any, header: Mapping[str, Any], factors: Mapping[str, NDArray[np.float32]], name: str) -> None:
    """Set the rotation of a configuration that was read from a GGUF file.

    Args:
        config: changed in place.
        header: the file's keys and values, by full key.
        factors: the tensors of ``ROPE_TENSORS`` that the file has, float32.
        name: what to call the file in an error.

    Raises:
        IncompatibleError: the file asks for a rotation that cannot be told to transformers.
    """
    architecture = header.get("general.architecture", "")

    def said(key: str) -> Any:
        return header.get(f"{architecture}.{key}")

    rope = dict(getattr(config, "rope_parameters", None) or {})
    groups = [key for key, value in rope.items() if isinstance(value, dict)]
    # Layers that look at everything and layers with a window may turn differently; stretching is of the former.
    target = dict(rope["full_attention"]) if "full_attention" in groups else rope
    before = dict(target)
    _set_share(config, target, said("rope.dimension_count"))
    kind = said("rope.scaling.type")
    if LONG in factors or SHORT in factors:
        _set_long(config, target, said, factors, name)
    elif FREQUENCIES in factors:
        _set_frequencies(config, target, factors[FREQUENCIES], name)
    elif kind in (None, "none"):
        linear = said("rope.scale_linear")  # what files of 2023 have
        if linear not in (None, 1.0):
            target.update(rope_type="linear", factor=float(linear))
    elif kind == "linear":
        target.update(rope_type="linear", factor=_factor(said, name))
    elif kind == "yarn":
        _set_yarn(config, target, said, name)
    else:
        raise _refused(name, f"its positions are stretched in a way called {kind!r}")
    if target == before:
        return
    if "full_attention" in groups:
        rope["full_attention"] = target
    config.rope_parameters = rope
    if hasattr(config, "standardize_rope_params"):
        config.standardize_rope_params()


def _set_share(config: Any, target: dict[str, Any], turned: int | None) -> None:
    """The part of each head that is turned, where a family does not turn all of it."""
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if turned is None or config.model_type not in _PARTIAL or not 0 < turned <= size:
        return
    target["partial_rotary_factor"] = turned / size
    if hasattr(config, "partial_rotary_factor"):
        config.partial_rotary_factor = turned / size


def _set_frequencies(config: Any, target: dict[str, Any], factors: NDArray[np.float32], name: str) -> None:
    """What each pair's frequency is divided by, from a tensor."""
    if not np.isfinite(factors).all() or (factors <= 0).any():
        raise _refused(name, f"{FREQUENCIES} holds numbers that are no factors")
    if (factors == 1).all():
        return
    if target.get("rope_type") == "proportional":
        turned = round(float(target.get("partial_rotary_factor", 1)) * len(factors))
        if (factors[:turned] == 1).all() and (factors[turned:] > _UNMOVED).all():
            return
        raise _refused(name, f"{FREQUENCIES} is not what its family does")
    if (factors > _UNMOVED).any():
        raise _refused(name, f"{FREQUENCIES} leaves some pairs where they are")
    known = _llama3(factors, float(target.get("rope_theta") or 10_000.0))
    if known is not None:
        target.update(rope_type="llama3", **known)
        return
    # No rule is known for these factors. As a list they say the same; short and long messages have the same list.
    same = [float(factor) for factor in factors]
    target.update(
        rope_type="longrope",
        short_factor=same,
        long_factor=same,
        attention_factor=1.0,
        original_max_position_embeddings=int(config.max_position_embeddings),
    )


def _llama3(factors: NDArray[np.float32], theta: float) -> dict[str, Any] | None:
    """The numbers of the rule of Llama 3.1 that gives these factors; None where it does not.

    The rule stretches slow pairs by ``factor``, leaves fast ones, and goes from one to the other between two lengths.
    """
    factor, low, high = float(factors.max()), 1.0, 4.0
    lengths = 2 * np.pi * theta ** (np.arange(len(factors)) / len(factors))
    for original in (8192, *(2**power for power in range(4, 21))):
        smooth = (original / lengths - low) / (high - low)
        between = 1 / ((1 - smooth) / factor + smooth)
        expected = np.where(lengths < original / high, 1, np.where(lengths > original / low, factor, between))
        if np.allclose(expected, factors, rtol=_TOLERANCE):
            return {
                "factor": factor,
                "low_freq_factor": low,
                "high_freq_factor": high,
                "original_max_position_embeddings": original,
            }
    return None


def _set_long(
    config: Any, target: dict[str, Any], said: Any, factors: Mapping[str, NDArray[np.float32]], name: str
) -> None:
    original = said("rope.scaling.original_context_length")
    if LONG not in factors or SHORT not in factors or not original:
        raise _refused(name, "it has long or short factors without the other, or without the length between them")
    target.update(
        rope_type="longrope",
        long_factor=[float(factor) for factor in factors[LONG]],
        short_factor=[float(factor) for factor in factors[SHORT]],
        original_max_position_embeddings=int(original),
    )
    if said("rope.scaling.attn_factor") is not None:
        target["attention_factor"] = float(said("rope.scaling.attn_factor"))
    config.original_max_position_embeddings = int(original)


def _set_yarn(config: Any, target: dict[str, Any], said: Any, name: str) -> None:
    odd = [key for key in ("attn_factor", "yarn_log_multiplier", "yarn_ext_factor") if said(f"rope.scaling.{key}")]
    if odd and not (odd == ["attn_factor"] and said("rope.scaling.attn_factor") == 1.0):
        raise _refused(name, f"its positions are stretched by YaRN with {', '.join(odd)}")
    original = said("rope.scaling.original_context_length")
    target.update(rope_type="yarn", factor=_factor(said, name))
    if original:
        target["original_max_position_embeddings"] = int(original)
    for key, field in (("yarn_beta_fast", "beta_fast"), ("yarn_beta_slow", "beta_slow")):
        if said(f"rope.scaling.{key}") is not None:
            target[field] = float(said(f"rope.scaling.{key}"))


def _factor(said: Any, name: str) -> float:
    factor = said("rope.scaling.factor")
    if not isinstance(factor, (int, float)) or not np.isfinite(factor) or factor <= 0:
        raise _refused(name, f"it stretches positions by {factor!r}")
    return float(factor)


def _refused(name: str, problem: str) -> IncompatibleError:
    return IncompatibleError(
        f"{name} cannot be used: {problem}, which cannot be read from a GGUF file here.",
        next_step="Use the same model's safetensors files: its publisher's repository, or a folder with config.json.",
    )
