"""Whether a model's ``config.json`` fits its tensors: every number that can be read off their shapes, by name.

Libraries fill what a checkpoint lacks with random numbers and leave aside what it has too much, with a warning that
nobody sees; the model then answers nonsense as if it were whole. Here a configuration that says something else than
the tensors is refused with the field's name, before anything is loaded. What no tensor shows (rotary positions,
lengths) is checked for what cannot be. Reads headers only; no torch.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tokmem_desk.errors import IncompatibleError
from tokmem_desk.models.safetensors_file import UnreadableError, read_blob, read_entries
from tokmem_desk.system.file_checks import FileState

Fields = Mapping[str, Any]
Shapes = Mapping[str, tuple[int, ...]]

_LARGEST = 2**31
_LAYER = re.compile(r"^(.*?\blayers)\.(\d+)\.")
_STATE = ".quant_state."
_SIZES = (
    "hidden_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "intermediate_size",
    "num_hidden_layers",
    "vocab_size",
    "max_position_embeddings",
)
_ROPE_NUMBERS = (
    "rope_theta",
    "rope_local_base_freq",
    "factor",
    "original_max_position_embeddings",
    "attention_factor",
    "beta_fast",
    "beta_slow",
    "low_freq_factor",
    "high_freq_factor",
)
_ROPE_LISTS = ("short_factor", "long_factor")


def check_config(folder: Path, name: str, *, converted: bool = False) -> None:
    """Compare ``config.json`` with the tensors beside it, before anything is loaded.

    Args:
        name: what to call the model in an error.
        converted: whether these are files that the program wrote.

    Raises:
        IncompatibleError: a field does not fit, or a file cannot be read; says which.
    """
    try:
        fields = _fields(folder)
        problem = _impossible(fields)
        if problem is None:
            shapes = _shapes(folder)
            problem = next(itertools.chain(_table(fields, shapes), _layers(fields, shapes)), None)
    except UnreadableError as error:
        raise _unreadable(name, str(error), converted=converted) from error
    if problem is not None:
        raise _refused(name, problem)


def check_shapes(fields: Fields, shapes: Shapes, name: str) -> None:
    """The same for a configuration and tensors that are not a folder's.

    Args:
        shapes: of all tensors, by name.

    Raises:
        IncompatibleError: a field does not fit.
    """
    problem = _impossible(fields)
    if problem is None:
        problem = next(itertools.chain(_table(fields, shapes), _layers(fields, shapes)), None)
    if problem is not None:
        raise _refused(name, problem)


def explain(folder: Path, name: str, *, converted: bool = False) -> IncompatibleError | None:
    """Why a library could not load a model, where a field of its configuration is why; None where it is not.

    Sizes of heads are looked at only here: some families mean other things by the same names, and what loads fits.
    """
    try:
        fields = _fields(folder)
        problem = next(_differences(fields, _shapes(folder)), None)
    except UnreadableError as error:
        return _unreadable(name, str(error), converted=converted)
    return None if problem is None else _refused(name, problem)


def check_loaded(name: str, missing: set[str], mismatched: set[Any]) -> None:
    """Refuse a model some of whose tensors the files do not have: a library would have made them up.

    Args:
        missing, mismatched: as transformers reports them after loading.

    Raises:
        IncompatibleError: there are such.
    """
    if missing:
        first = sorted(missing)[0]
        raise _refused(name, f"config.json asks for {first!r} and {len(missing) - 1} more tensors that are not there")
    if mismatched:
        raise _refused(name, f"config.json asks for another size of {sorted(map(str, mismatched))[0]}")


def check_layers(name: str, model: Any) -> None:
    """Refuse a model whose 4-bit layers are of another size than its configuration makes them.

    Libraries compare sizes of plain tensors only, and a 4-bit layer takes whatever it is given.

    Args:
        model: a loaded transformers model.

    Raises:
        IncompatibleError: there is such a layer.
    """
    for layer, module in model.named_modules():
        state = getattr(getattr(module, "weight", None), "quant_state", None)
        if state is None or not hasattr(module, "in_features"):
            continue
        wanted = (module.out_features, module.in_features)
        if tuple(state.shape) != wanted:
            found = " x ".join(map(str, state.shape))
            raise _refused(
                name, f"config.json makes {layer} {' x '.join(map(str, wanted))} numbers, but the tensors have {found}"
            )


def _refused(name: str, problem: str) -> IncompatibleError:
    return IncompatibleError(
        f"{name} cannot be used: {problem}.",
        next_step="Get its files again, or correct config.json; nothing was loaded.",
    )


def _unreadable(name: str, problem: str, *, converted: bool) -> IncompatibleError:
    if converted:
        return IncompatibleError(
            f"The files of {name} cannot be loaded ({problem}).",
            next_step=f"Remove and fetch it again: tokmem-desk model remove {name}; model pull {name}.",
        )
    return IncompatibleError(
        f"{name} cannot be loaded as a causal language model ({problem}).",
        next_step="Check that the download is complete, or choose another model.",
    )


def read_fields(folder: Path) -> Fields:
    """The fields of ``config.json``, a wrapper's with its text part in a group of its own.

    Raises:
        UnreadableError: it is missing or damaged.
    """
    file = folder / "config.json"
    try:
        FileState.of(file)
        fields = json.loads(file.read_bytes())
    except OSError as error:
        raise UnreadableError(f"config.json cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UnreadableError("config.json is damaged: it is no JSON") from error
    if not isinstance(fields, dict):
        raise UnreadableError("config.json is damaged: it holds no fields")
    return fields


def _fields(folder: Path) -> Fields:
    """The same, with what concerns text on top."""
    fields = read_fields(folder)
    text = fields.get("text_config")
    # Models of text and images keep what concerns text in a part of its own.
    return {**fields, **text} if isinstance(text, dict) else fields


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _impossible(fields: Fields) -> str | None:
    """What no model can have, whatever its tensors."""
    for key in _SIZES:
        value = fields.get(key)
        if value is None or isinstance(value, list):  # some families have one for each layer
            continue
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < _LARGEST:
            return f"{key} in config.json is {value!r}, not a whole number above zero"
    heads, pairs = fields.get("num_attention_heads"), fields.get("num_key_value_heads")
    if isinstance(heads, int) and isinstance(pairs, int) and heads % pairs:
        return f"num_key_value_heads in config.json is {pairs}, which does not divide num_attention_heads, {heads}"
    for key in ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_eps"):
        value = fields.get(key)
        if value is not None and not (_is_number(value) and 0 < value < 1):
            return f"{key} in config.json is {value!r}, not a small number above zero"
    kinds, layers = fields.get("layer_types"), fields.get("num_hidden_layers")
    if kinds is not None:
        if not isinstance(kinds, list) or not all(isinstance(kind, str) for kind in kinds):
            return "layer_types in config.json is not a list of names"
        if isinstance(layers, int) and len(kinds) != layers:
            return f"layer_types in config.json names {len(kinds)} layers, num_hidden_layers says {layers}"
    tied = fields.get("tie_word_embeddings")
    if tied is not None and not isinstance(tied, bool):
        return f"tie_word_embeddings in config.json is {tied!r}, neither true nor false"
    return _impossible_rope(fields)


def _impossible_rope(fields: Fields) -> str | None:
    """What rotary positions cannot be; no tensor tells."""
    size = _head_size(fields)
    share = fields.get("partial_rotary_factor")
    if share is not None and not (_is_number(share) and 0 < share <= 1):
        return f"partial_rotary_factor in config.json is {share!r}, not a share of the head"
    for where, rope in _ropes(fields):
        for key in _ROPE_NUMBERS:
            value = rope.get(key)
            if value is not None and not (_is_number(value) and value > 0):
                return f"{where}{key} in config.json is {value!r}, not a number above zero"
        kind = rope.get("rope_type", rope.get("type"))
        if kind is not None and not isinstance(kind, str):
            return f"{where}rope_type in config.json is {kind!r}, not a name"
        for key in _ROPE_LISTS:
            factors = rope.get(key)
            if factors is None:
                continue
            if not isinstance(factors, list) or not all(_is_number(one) and one > 0 for one in factors):
                return f"{where}{key} in config.json is not a list of numbers above zero"
            turned = None if size is None else int(size * (rope.get("partial_rotary_factor") or share or 1))
            if turned is not None and len(factors) != turned // 2:
                return f"{where}{key} in config.json has {len(factors)} numbers, the heads' size asks for {turned // 2}"
    rotates = any(fields.get(key) is not None for key in ("rope_theta", "rope_parameters", "rope_scaling"))
    if rotates and size is not None and size % 2:
        return f"head_dim in config.json is {size}, which is odd, and rotary positions turn pairs"
    return None


def _ropes(fields: Fields) -> Iterator[tuple[str, Fields]]:
    """Every place that says something of rotary positions, with what to write before a field's name."""
    yield "", {key: fields[key] for key in ("rope_theta", "rope_local_base_freq") if key in fields}
    for key in ("rope_parameters", "rope_scaling"):
        inner = fields.get(key)
        if isinstance(inner, dict):
            yield f"{key}.", inner
            for kind, deeper in inner.items():
                if isinstance(deeper, dict):
                    yield f"{key}.{kind}.", deeper


def _head_size(fields: Fields) -> int | None:
    size, hidden, heads = (fields.get(key) for key in ("head_dim", "hidden_size", "num_attention_heads"))
    if isinstance(size, int):
        return size
    return hidden // heads if isinstance(hidden, int) and isinstance(heads, int) else None


def _table(fields: Fields, shapes: Shapes) -> Iterator[str]:
    """Differences that show in the embedding and the output head."""
    table = next((s for n, s in shapes.items() if n.endswith(("embed_tokens.weight", "wte.weight"))), None)
    head = next((s for n, s in shapes.items() if n == "lm_head.weight" or n.endswith(".lm_head.weight")), None)
    if table is None or len(table) != 2:
        return
    yield from _differs(fields, "vocab_size", table[0], "the embedding has {} rows")
    if fields.get("word_embed_proj_dim", fields.get("embedding_size")) is None:
        yield from _differs(fields, "hidden_size", table[1], "the embedding has rows of {} numbers")
    tied = fields.get("tie_word_embeddings")
    if head is None and tied is False:
        yield "tie_word_embeddings in config.json is false, but the tensors have no output head of their own"
    if head is not None and head != table and len(head) == 2 and tied:
        yield "tie_word_embeddings in config.json is true, but the output head is of another size than the embedding"


def _differences(fields: Fields, shapes: Shapes) -> Iterator[str]:
    """What the configuration says otherwise than the tensors, most telling first."""
    yield from _table(fields, shapes)
    yield from _layers(fields, shapes)
    yield from _heads(fields, shapes)
    for end, place in (("mlp.gate_proj.weight", 0), ("mlp.up_proj.weight", 0), ("mlp.down_proj.weight", 1)):
        found = {shape[place] for name, shape in shapes.items() if name.endswith(end) and len(shape) == 2}
        # Families whose layers differ in width say so in other fields.
        if len(found) == 1 and "intermediate_size" not in fields:
            yield f"intermediate_size is missing in config.json; the tensors say {found.pop():,}"
        elif len(found) == 1:
            yield from _differs(fields, "intermediate_size", found.pop(), f"{end.split('.')[1]} has {{}}")


def _differs(fields: Fields, key: str, found: int, words: str) -> Iterator[str]:
    said = fields.get(key)
    if isinstance(said, int) and said != found:
        yield f"{key} in config.json is {said:,}, but the tensors say {found:,} ({words.format(f'{found:,}')})"


def _layers(fields: Fields, shapes: Shapes) -> Iterator[str]:
    said = fields.get("num_hidden_layers")
    if not isinstance(said, int):
        return
    numbers: dict[str, set[int]] = {}
    for name in shapes:
        match = _LAYER.match(name)
        if match and not re.search(r"vision|visual|audio|encoder|mtp", match[1]):
            numbers.setdefault(match[1], set()).add(int(match[2]))
    if not numbers:
        return
    found = max(numbers.values(), key=len)
    ahead = fields.get("num_nextn_predict_layers")
    allowed = {said, said + (ahead if isinstance(ahead, int) else 0)}
    if max(found) + 1 not in allowed:
        yield f"num_hidden_layers in config.json is {said}, but the tensors say {max(found) + 1}"
    lacking = sorted(set(range(said)) - found)
    if lacking:
        yield f"num_hidden_layers in config.json is {said}, but layer {lacking[0]} has no tensors"


def _heads(fields: Fields, shapes: Shapes) -> Iterator[str]:
    """Sizes of the projections of attention; only where all layers agree, as in models with one kind of heads."""

    def rows(end: str) -> int | None:
        found = {shape[0] for name, shape in shapes.items() if name.endswith(end) and len(shape) in (1, 2)}
        return found.pop() if len(found) == 1 else None

    size, heads = _head_size(fields), fields.get("num_attention_heads")
    pairs = fields.get("num_key_value_heads", heads)
    norm = rows("self_attn.q_norm.weight")
    queries, keys = rows("self_attn.q_proj.weight"), rows("self_attn.k_proj.weight")
    if size is None or not isinstance(heads, int) or not isinstance(pairs, int) or queries is None:
        return
    if norm is not None and norm not in (size, heads * size, queries):
        yield f"head_dim in config.json is {size}, but the tensors say {norm}"
    # Both are off by the same factor: not the number of heads is wrong, but what each of them has.
    if keys is not None and queries != heads * size and queries * pairs == keys * heads and queries % heads == 0:
        if fields.get("head_dim") is None:
            yield f"num_attention_heads in config.json is {heads}, of {size} numbers each, but the keys have {keys:,}"
        else:
            yield f"head_dim in config.json is {size}, but the tensors say {queries // heads}"
    if queries != heads * size:
        yield (
            f"num_attention_heads in config.json is {heads}, of {size} numbers each, but the tensors have queries of "
            f"{queries:,}"
        )
    if keys is not None and keys != pairs * size:
        yield (
            f"num_key_value_heads in config.json is {pairs}, of {size} numbers each, but the tensors have keys of "
            f"{keys:,}"
        )


def _shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor in a folder, 4-bit ones as what they stand for."""
    found: dict[str, tuple[int, ...]] = {}
    packed: dict[str, tuple[int, ...]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        if not file.name.startswith("model"):
            continue  # an adapter, a prior, a router: made for the model, and no part of it
        for entry in read_entries(file):
            if _STATE in entry.name:
                packed[entry.name.split(_STATE)[0]] = _shape_of_state(read_blob(file, entry))
            elif not re.search(r"\.(absmax|quant_map|nested_absmax|nested_quant_map)$", entry.name):
                found[entry.name] = entry.shape
    found.update({tensor: shape for tensor, shape in packed.items() if shape})
    quantised = [
        tensor for tensor, shape in found.items() if len(shape) == 2 and shape[1] == 1 and tensor not in packed
    ]
    # Other ways of packing say nothing that could be compared.
    return {tensor: shape for tensor, shape in found.items() if tensor not in quantised}


def _shape_of_state(blob: bytes) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in json.loads(blob)["shape"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()
