"""A JSON schema out of example pairs whose responses are objects of one shape: which fields, and of what type each.

Only what all responses agree on becomes a rule: the fields, their order, which of them are always there, the type of
each. No closed sets, no lengths and no formats, since the next message may bring another value. Proposes; whoever asks
decides.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tokmem_desk.errors import BadInputError
from tokmem_desk.procedures import ExamplePair
from tokmem_desk.templates.json_schema import OutputSchema, read_schema

LEAST_PAIRS = 4
"""Fewer responses show no shape."""

MOST_FIELDS = 40

_TYPE_WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "yes or no",
    "array": "list",
    "object": "fields of its own",
}


def learned_schema(pairs: Sequence[ExamplePair]) -> OutputSchema | None:
    """The schema that all responses share.

    Returns:
        None where there is none: few pairs, responses that are no objects or have no fields in common, a field whose
        type changes, or fields in changing order.
    """
    if len(pairs) < LEAST_PAIRS:
        return None
    objects = []
    for pair in pairs:
        text = pair.response.strip()
        if not text.startswith("{"):  # most responses are other text, and told at once
            return None
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(value, dict):
            return None
        objects.append(value)
    document = _object(objects)
    if document is None:
        return None
    try:
        schema = read_schema(json.dumps(document, ensure_ascii=False))
        fits = all(schema.fault(pair.response) is None and schema.order_fault(pair.response) is None for pair in pairs)
    except (BadInputError, RecursionError):
        return None
    return schema if fits else None


def field_words(document: Mapping[str, Any]) -> str:
    """The fields of a schema for people: ``text (text), due (text, not always), amount (number)``."""
    required = document.get("required") or ()
    fields = document.get("properties") or {}
    return ", ".join(
        f"{name} ({_type_words(part)}{'' if name in required else ', not always'})" for name, part in fields.items()
    )


def _object(objects: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The schema of objects; None where they have not one shape."""
    names = _in_order([list(one) for one in objects])
    if not names or len(names) > MOST_FIELDS:
        return None
    properties = {}
    for name in names:
        part = _value([one[name] for one in objects if name in one])
        if part is None:
            return None
        properties[name] = part
    required = [name for name in names if all(name in one for one in objects)]
    if not required:  # nothing holds them together: rather different things than one shape
        return None
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _value(values: Sequence[Any]) -> dict[str, Any] | None:
    """The schema of values of one field; None where their types differ."""
    kinds = {_kind(value) for value in values}
    nullable = "null" in kinds
    kinds.discard("null")
    if kinds == {"integer", "number"}:
        kinds = {"number"}
    if len(kinds) != 1:
        return None
    [kind] = kinds
    present = [value for value in values if value is not None]
    part: dict[str, Any] | None = {"type": [kind, "null"] if nullable else kind}
    if kind == "object":
        part = _object(present)
        return None if nullable else part
    if kind == "array":
        items = [item for value in present for item in value]
        inner = _value(items) if items else {"type": "string"}
        return None if inner is None or nullable else {"type": "array", "items": inner}
    return part


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    kinds = {str: "string", int: "integer", float: "number", list: "array", dict: "object"}
    return kinds[type(value)]


def _in_order(rows: Sequence[Sequence[str]]) -> list[str]:
    """All names in an order that agrees with each row; empty where two rows disagree."""
    before: dict[str, set[str]] = {}
    for row in rows:
        for place, name in enumerate(row):
            before.setdefault(name, set()).update(row[:place])
    ordered: list[str] = []
    while len(ordered) < len(before):
        free = next((name for name in before if name not in ordered and before[name] <= set(ordered)), None)
        if free is None:
            return []
        ordered.append(free)
    return ordered


def _type_words(part: Mapping[str, Any]) -> str:
    kinds = part.get("type", "")
    names = [kinds] if isinstance(kinds, str) else list(kinds)
    return " or ".join(_TYPE_WORDS.get(str(name), "empty" if name == "null" else "anything") for name in names)
