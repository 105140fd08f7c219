"""The form of a procedure's answers, where it has one: a JSON schema that describes an object, a call's arguments.

Reads schemas and says where a bad one is wrong; tells whether an answer fits. Generates nothing: see
``constrained``. Imports no torch, and never follows a reference out of the schema. Its expressions are matched without
going back (``patterns``), and an answer is given up where comparing it takes more than a bounded number of steps.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from tokmem_desk.errors import BadInputError, first_line
from tokmem_desk.templates.patterns import PatternError, known_pattern, read_pattern

MAX_SCHEMA_CHARACTERS = 64_000
"""Longest schema; it is read with every request, and real ones have a few hundred characters."""

MAX_LEVELS = 60

MAX_STEPS = 200_000
"""Keywords that are applied to the parts of one answer at most; references that branch could ask for billions."""

WHITESPACE = r"(\n|)[ \t]{0,16}"
"""What may stand between two tokens of JSON: the style of the pairs, pretty-printed or not, but never without end."""

_JOINING = ("allOf", "anyOf", "oneOf", "$ref", "patternProperties", "unevaluatedProperties")
_NAMED_PARTS = ("properties", "$defs", "definitions", "patternProperties")
_LISTED_PARTS = ("anyOf", "allOf", "oneOf", "prefixItems")
_SINGLE_PARTS = ("items", "additionalProperties", "not", "contains", "if", "then", "else")
"""Where a schema holds other schemas."""

_NEXT_STEP = "Correct the schema, or go without one."
_UNKNOWN_KEYS = re.compile(r"Unimplemented keys: (\[.*\])")


@dataclass(frozen=True)
class OutputSchema:
    """A checked schema; make one with ``read_schema``.

    Attributes:
        text: the schema as JSON on one line, properties in the order in which they were written.
    """

    text: str
    _document: dict[str, Any] = field(compare=False, repr=False)

    @property
    def document(self) -> dict[str, Any]:
        """The schema itself; not to be changed."""
        return self._document

    @cached_property
    def grammar(self) -> str:
        """The grammar of fitting answers, as llguidance reads it. Only properties that the schema names appear."""
        return grammar_of(self.closed)

    @property
    def closed(self) -> dict[str, Any]:
        """The schema in which objects have no other properties than the named ones, unless it speaks of others."""
        return _closed(self._document)

    @property
    def required(self) -> tuple[str, ...]:
        """The keys that every answer must have."""
        return tuple(name for name in self._document.get("required", ()) if isinstance(name, str))

    def allows(self, name: str, value: Any) -> bool:
        """Whether a value may stand under a key, as far as that can be said without the others.

        ``fault_of`` says it of the whole.
        """
        named = self._document.get("properties")
        part = named.get(name) if isinstance(named, dict) else None
        if part is None:
            if any(key in self._document for key in _JOINING):
                return True
            part = self._document.get("additionalProperties", True)
        _STEPS.set(iter(range(MAX_STEPS)))
        try:
            return next(_validator(self.text).evolve(schema=part).iter_errors(value), None) is None
        except (RecursionError, OverflowError, _TooManyStepsError):
            return False

    def read(self, answer: str) -> dict[str, Any]:
        """The object that an answer is.

        Raises:
            BadInputError: the answer is no JSON, or does not fit; the text says where.
        """
        try:
            value = json.loads(answer, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as caught:
            raise BadInputError(f"it is not JSON ({first_line(caught)})") from None
        fault = self.fault_of(value)
        if fault is not None:
            raise BadInputError(fault)
        assert isinstance(value, dict)
        return value

    def fault(self, answer: str) -> str | None:
        """Why an answer does not fit, or None when it does."""
        try:
            self.read(answer)
        except BadInputError as caught:
            return caught.message
        return None

    def fault_of(self, value: Any) -> str | None:
        """Why a value does not fit, or None when it does."""
        from jsonschema.exceptions import best_match

        _STEPS.set(iter(range(MAX_STEPS)))
        try:
            found = best_match(_validator(self.text).iter_errors(value))
        except (RecursionError, OverflowError):
            return "it is nested too deeply, or holds a number that is too large"
        except _TooManyStepsError:
            return f"comparing it with the schema takes more than {MAX_STEPS:,} steps"
        return None if found is None else f"{_place(found.json_path)}: {_short(found.message)}"

    def order_fault(self, answer: str) -> str | None:
        """Why a fitting answer could not be generated all the same: keys in another order, or keys nobody named."""
        value = json.loads(answer)
        return _order_fault(self._document, value, "")


def read_schema(text: str, source: str = "The schema") -> OutputSchema:
    """Check a schema.

    Args:
        text: JSON.
        source: what errors call it, such as a file's name.

    Raises:
        BadInputError: no JSON, no JSON schema, not of an object, or a keyword that answers cannot be held to; the
            text names the place.
    """
    if len(text) > MAX_SCHEMA_CHARACTERS:
        raise BadInputError(
            f"{source} has {len(text):,} characters; a schema may have {MAX_SCHEMA_CHARACTERS:,}.",
            next_step="Keep to what the procedure's answers need.",
        )
    if _depth(text) > MAX_LEVELS:
        raise BadInputError(f"{source} is nested more than {MAX_LEVELS} levels deep.", next_step=_NEXT_STEP)
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as caught:
        place = f"line {caught.lineno}, column {caught.colno}"
        raise BadInputError(f"{source}, {place}: not JSON: {caught.msg}.", next_step=_NEXT_STEP) from caught
    except (ValueError, RecursionError) as caught:
        raise BadInputError(f"{source} is not usable JSON ({first_line(caught)}).", next_step=_NEXT_STEP) from caught
    if not isinstance(document, dict):
        raise BadInputError(f"{source} is not a JSON schema: it is no object.", next_step=_NEXT_STEP)
    fault = _schema_fault(document)
    if fault is not None:
        raise BadInputError(f"{source}, at {fault}.", next_step=_NEXT_STEP)
    return OutputSchema(json.dumps(document, ensure_ascii=False), document)


def _depth(text: str) -> int:
    """Brackets that are open at once, at most; those in strings count too, which does not matter here."""
    deepest = level = 0
    for character in text:
        level += (character in "[{") - (character in "]}")
        deepest = max(deepest, level)
    return deepest


def _schema_fault(document: dict[str, Any]) -> str | None:
    """``place: reason``, or None."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    found = best_match(Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(document))
    if found is not None:
        return f"{_place(found.json_path)}: {_short(found.message)}"
    if document.get("type") != "object":
        return 'the top: an answer must be an object; write "type": "object"'
    for place, node in _nodes(document):
        if "$ref" in node and not str(node["$ref"]).startswith("#"):
            return f"{_place(place)}: $ref may only point into the schema itself, not to {_short(str(node['$ref']))}"
        for expression in _expressions(node):
            try:
                read_pattern(expression)
            except PatternError as caught:
                return f"{_place(place)}: {_short(repr(expression))} {caught}"
    reason = _grammar_fault(document)
    if reason is None:
        return None
    keys = _UNKNOWN_KEYS.search(reason)
    if keys is not None:
        unknown = json.loads(keys.group(1))
        place = next((place for place, node in _nodes(document) if any(key in node for key in unknown)), "$")
        return f"{_place(place)}: answers cannot be held to {', '.join(repr(key) for key in unknown)}"
    return f"{_place(_deepest(document, '$', document))}: {_short(first_line(ValueError(reason)))}"


def _expressions(node: dict[str, Any]) -> Iterator[str]:
    """The regular expressions of one schema, those of schemas inside it not included."""
    if isinstance(node.get("pattern"), str):
        yield node["pattern"]
    if isinstance(node.get("patternProperties"), dict):
        yield from node["patternProperties"]


def _deepest(node: dict[str, Any], place: str, root: dict[str, Any]) -> str:
    """The innermost part of a schema that cannot be generated by itself."""
    shared: dict[str, Any] = {key: root[key] for key in ("$defs", "definitions") if key in root}
    for below, child in _children(node, place):
        if _grammar_fault({**shared, **child}) is not None:
            return _deepest(child, below, root)
    return place


def _nodes(node: dict[str, Any], place: str = "$") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema inside a schema, with its place."""
    yield place, node
    for below, child in _children(node, place):
        yield from _nodes(child, below)


def _children(node: dict[str, Any], place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    parts: list[tuple[str, Any]] = [(f"{place}.{key}", node[key]) for key in _SINGLE_PARTS if key in node]
    for key in _NAMED_PARTS:
        if isinstance(node.get(key), dict):
            parts += [(f"{place}.{key}.{name}", child) for name, child in node[key].items()]
    for key in _LISTED_PARTS:
        if isinstance(node.get(key), list):
            parts += [(f"{place}.{key}[{number}]", child) for number, child in enumerate(node[key])]
    return ((below, child) for below, child in parts if isinstance(child, dict))


def _grammar_fault(document: dict[str, Any]) -> str | None:
    from llguidance import LLMatcher

    try:
        wrong, texts = LLMatcher.validate_grammar_with_warnings(grammar_of(document))
    except ValueError as caught:
        return first_line(caught)
    return str(texts[0]) if wrong else None


def grammar_of(document: dict[str, Any]) -> str:
    """The grammar of a schema, as llguidance reads it."""
    from llguidance import LLMatcher

    return str(LLMatcher.grammar_from_json_schema(json.dumps(document), overrides={"whitespace_pattern": WHITESPACE}))


def _closed(node: dict[str, Any]) -> dict[str, Any]:
    """The schema with objects that hold the named properties only, unless it speaks of others.

    Further properties would be valid and are never meant: a model would make them up.
    """
    made = dict(node)
    if isinstance(node.get("properties"), dict):
        made["properties"] = {k: _closed(v) if isinstance(v, dict) else v for k, v in node["properties"].items()}
        if "additionalProperties" not in node and not any(key in node for key in _JOINING):
            made["additionalProperties"] = False
    if isinstance(node.get("items"), dict):
        made["items"] = _closed(node["items"])
    return made


def _order_fault(schema: Any, value: Any, place: str) -> str | None:
    if not isinstance(schema, dict):  # true and false are schemas as well
        return None
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        faults = (_order_fault(schema["items"], item, f"{place}[{i}]") for i, item in enumerate(value))
        return next((fault for fault in faults if fault is not None), None)
    named = schema.get("properties")
    if not isinstance(value, dict) or not isinstance(named, dict) or any(key in schema for key in _JOINING):
        return None
    unnamed = [key for key in value if key not in named]
    where = f" in {place}" if place else ""
    if unnamed and "additionalProperties" not in schema:
        return f"the schema does not name {unnamed[0]!r}{where}"
    given = [key for key in value if key in named]
    if given != [key for key in named if key in value]:
        return f"its keys stand in another order than the schema's{where}"
    for key in given:
        fault = _order_fault(named[key], value[key], f"{place}.{key}" if place else key)
        if fault is not None:
            return fault
    return None


@lru_cache(maxsize=32)
def _validator(text: str) -> Any:
    from referencing import Registry

    # An empty registry of its own: the library's default one would fetch references from the network.
    return _validator_class()(json.loads(text), registry=Registry())


_STEPS: ContextVar[Iterator[int]] = ContextVar("steps that are left for the answer that is being compared")


class _TooManyStepsError(Exception):
    """An answer that takes too long to compare with its schema."""


@lru_cache(maxsize=1)
def _validator_class() -> Any:
    """The library's validator with our matcher in place of its own, and with an end."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    def counted(apply: Any) -> Any:
        def bounded(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
            if next(_STEPS.get(), None) is None:
                raise _TooManyStepsError
            return apply(validator, value, instance, schema)

        return bounded

    ours = {**Draft202012Validator.VALIDATORS, **_MATCHING}
    # What the grammar refuses never comes this far; these would ask the library's own matcher.
    del ours["unevaluatedProperties"]
    return extend(Draft202012Validator, {name: counted(apply) for name, apply in ours.items()})


def _matches(expression: str, text: str) -> bool:
    found = known_pattern(expression)
    return found is not None and found.search(text) is not None


def _pattern(validator: Any, expression: Any, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    del schema
    if validator.is_type(instance, "string") and not _matches(expression, instance):
        yield ValidationError(f"{instance!r} does not match {expression!r}")


def _pattern_properties(validator: Any, parts: Any, instance: Any, schema: Any) -> Iterator[Any]:
    del schema
    if validator.is_type(instance, "object"):
        for expression, part in parts.items():
            for key, value in instance.items():
                if _matches(expression, key):
                    yield from validator.descend(value, part, path=key, schema_path=expression)


def _additional_properties(validator: Any, part: Any, instance: Any, schema: Any) -> Iterator[Any]:
    from jsonschema.exceptions import ValidationError

    if not validator.is_type(instance, "object"):
        return
    named, expressions = schema.get("properties", {}), schema.get("patternProperties", {})
    extras = [key for key in instance if key not in named and not any(_matches(one, key) for one in expressions)]
    if validator.is_type(part, "object"):
        for key in extras:
            yield from validator.descend(instance[key], part, path=key)
    elif not part and extras:
        shown = ", ".join(repr(key) for key in extras[:3])
        one = len(extras) == 1
        yield ValidationError(
            f"Additional properties are not allowed ({shown} {'was' if one else 'were'} unexpected)"
            if not expressions
            else f"{shown} {'does' if one else 'do'} not match any of the expressions that keys must match"
        )


_MATCHING: dict[str, Any] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
}
"""The keywords for which the library would use Python's own matcher."""


def forget_schemas() -> None:
    """Drop the cached schemas: they may hold a person's own words."""
    _validator.cache_clear()


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON number")


def _place(path: str) -> str:
    return "the top" if path == "$" else path.removeprefix("$.").removeprefix("$")


def _short(message: str) -> str:
    return message if len(message) <= 160 else f"{message[:159]}…"
