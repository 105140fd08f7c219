"""Whether a model can be used here, judged by its configuration and its size alone: before anything is fetched.

What would be refused after a download of gigabytes is refused here, in a sentence. Reads no file and no network; the
same is asked of a folder on this disk before it is converted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tokmem_desk.errors import IncompatibleError, OutOfMemoryError
from tokmem_desk.models.catalogue import GIB, MIB
from tokmem_desk.models.hardware_fit import BYTES_PER_PARAMETER, Machine
from tokmem_desk.models.text_part import text_model_type

Fields = Mapping[str, Any]

_OURS = ("bitsandbytes", "bitsandbytes_4bit")
"""Ways of quantising by others that are taken as they are."""

_CAUSAL = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")

_BYTES_PER_STORED = {"bfloat16": 2, "float16": 2, "float32": 4, "float64": 8}


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is known of a model before it is fetched.

    Attributes:
        name: what to call it in an error.
        fields: of its ``config.json``.
        parameters: how many the Hub counts; None where it does not say.
        weight_bytes: of its weight files.
    """

    name: str
    fields: Fields
    parameters: int | None = None
    weight_bytes: int = 0

    def parameter_count(self) -> int:
        """Parameters, from the size of the weights where nobody counts them."""
        if self.parameters:
            return self.parameters
        text = self.fields.get("text_config")
        inner: Fields = text if isinstance(text, dict) else {}
        dtype = self.fields.get("dtype") or self.fields.get("torch_dtype") or inner.get("dtype")
        return self.weight_bytes // _BYTES_PER_STORED.get(str(dtype), 2)


def check_candidate(candidate: Candidate) -> None:
    """Refuse a model of a kind that cannot be used.

    Raises:
        IncompatibleError: custom code, an unknown family, no language model, or quantised by a method that cannot be
            taken.
    """
    _check_family(candidate.name, candidate.fields)
    _check_quantisation(candidate.name, candidate.fields)


def check_memory(candidate: Candidate, machine: Machine) -> None:
    """Refuse a model whose weights alone are larger than all memory there is, in 4 bit.

    Raises:
        OutOfMemoryError: it cannot be loaded, however much is closed.
    """
    need = round(candidate.parameter_count() * BYTES_PER_PARAMETER)
    total = max(machine.memory_bytes, machine.gpu_memory_bytes)
    if need > total:
        raise OutOfMemoryError(
            f"{candidate.name} has {candidate.parameter_count() / 1e9:,.1f} billion parameters, which take about "
            f"{need / GIB:,.1f} GiB in 4 bit; this computer has {total / GIB:,.1f} GiB of memory. Nothing was fetched.",
            next_step="Choose a smaller model: tokmem-desk model list shows what fits.",
        )


def converted_bytes(candidate: Candidate) -> int:
    """Disk that the converted model will take, roughly."""
    return round(candidate.parameter_count() * BYTES_PER_PARAMETER) + 64 * MIB


def _check_family(name: str, fields: Fields) -> None:
    from transformers import __version__
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kind = str(fields.get("model_type", ""))
    inner = text_model_type(fields)
    if kind not in CONFIG_MAPPING_NAMES:
        if fields.get("auto_map"):
            raise _refused(
                name,
                f"it is run by code of its own ({_first_map(fields)}), which is never run here",
                "Choose a model of a family that transformers knows, or a later version of this one.",
            )
        if fields and kind:
            raise _refused(
                name,
                f"its family, {kind!r}, is not known to transformers {__version__}",
                "A newer transformers may know it: pip install --upgrade transformers; or choose another model.",
            )
        return  # a folder that says nothing is refused where its tensors are looked at
    architectures = fields.get("architectures")
    named = [str(one) for one in architectures] if isinstance(architectures, list) else []
    what = named[0] if named else kind
    wanted = kind if inner is None else inner
    if wanted in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and (not named or any(one.endswith(_CAUSAL) for one in named)):
        return
    if inner is not None:
        raise _refused(
            name,
            f"its text part is of the family {inner!r}, which does not load without the rest of {what}",
            "Choose a model that reads text alone.",
        )
    raise IncompatibleError(
        f"{name} is a {what}, not a causal language model.",
        next_step="Choose a model that generates text, such as a Llama, Qwen or Gemma.",
    )


def _first_map(fields: Fields) -> str:
    maps = fields.get("auto_map")
    return str(next(iter(maps.values()))) if isinstance(maps, dict) and maps else str(maps)


def _check_quantisation(name: str, fields: Fields) -> None:
    text = fields.get("text_config")
    said = fields.get("quantization_config") or (text.get("quantization_config") if isinstance(text, dict) else None)
    if not said:
        return
    if not isinstance(said, dict):
        raise _refused(name, "quantization_config in its config.json is not a group of fields", _PLAIN)
    method = str(said.get("quant_method") or "bitsandbytes")
    if method in _OURS and said.get("load_in_4bit"):
        return
    if method in _OURS:
        raise _refused(name, "its publisher quantised it to 8 bit, which cannot be trained with here", _PLAIN)
    raise _refused(name, f"its publisher quantised it by {method!r}, which cannot be taken further here", _PLAIN)


_PLAIN = (
    "Take the publisher's repository in bfloat16 or float16 (often the same name without, or with BF16 instead of, "
    "the ending); it is quantised here."
)


def _refused(name: str, problem: str, next_step: str) -> IncompatibleError:
    return IncompatibleError(f"{name} cannot be used: {problem}.", next_step=next_step)
