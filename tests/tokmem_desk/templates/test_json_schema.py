"""Schemas: a bad one is refused with its place; an answer fits or the reason is told."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from typing import Any

import pytest

from tokmem_desk.errors import BadInputError
from tokmem_desk.templates.json_schema import MAX_SCHEMA_CHARACTERS, read_schema

EXPENSE = {
    "type": "object",
    "properties": {
        "amount": {"type": "number"},
        "currency": {"enum": ["EUR", "USD"]},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
    },
    "required": ["amount", "currency"],
}


def text(**changes: object) -> str:
    return json.dumps({**EXPENSE, **changes})


@pytest.mark.parametrize(
    ("schema", "place", "reason"),
    [
        ('{"type": "object",\n "properties": }', "line 2, column 16", "not JSON"),
        ("[]", "is not a JSON schema", "no object"),
        ('{"type": "objekt"}', "at type", "'objekt' is not valid"),
        (text(properties={"a": {"type": "number", "minimum": "3"}}), "at properties.a.minimum", "'3' is not of type"),
        (text(type="array"), "at the top", "must be an object"),
        ("{}", "at the top", "must be an object"),
        (
            text(properties={"a": {"type": "array", "items": {"type": "array", "uniqueItems": True}}}),
            "at properties.a.items",
            "'uniqueItems'",
        ),
        (text(properties={"a": {"$ref": "https://example.org/x.json"}}), "at properties.a", "into the schema itself"),
        (text(properties={"a": {"type": "string", "pattern": "(?=x)y"}}), "at properties.a", "looks ahead"),
        (text(properties={"a": {"type": "string", "format": "iban"}}), "at properties.a", "Unknown format: iban"),
        (text(properties={"a": False}, required=["a"]), "at the top", "nsatisfiable"),
        (text(description="x" * MAX_SCHEMA_CHARACTERS), "characters", "may have"),
        ('{"type": "object", "default": NaN}', "not usable JSON", "NaN"),
        ('{"items":' * 5000 + "{}" + "}" * 5000, "nested", "levels"),
    ],
    ids=range(14),
)
def test_a_bad_schema_is_refused_with_the_place(schema: str, place: str, reason: str) -> None:
    with pytest.raises(BadInputError) as caught:
        read_schema(schema, "form.json")
    assert caught.value.message.startswith("form.json")
    assert place in caught.value.message and reason in caught.value.message


def test_a_good_schema_keeps_the_order_of_its_properties() -> None:
    schema = read_schema(text(description="größe"))
    assert list(schema.document["properties"]) == ["amount", "currency", "tags"]
    assert "größe" in schema.text and "\n" not in schema.text
    assert read_schema(schema.text) == schema


def test_recursive_schemas_within_themselves_are_fine() -> None:
    node = {"type": "object", "properties": {"child": {"$ref": "#/$defs/node"}}}
    schema = read_schema(json.dumps({"type": "object", "$defs": {"node": node}, "properties": {"n": node}}))
    assert schema.fault('{"n": {"child": {"child": {}}}}') is None
    assert schema.fault('{"n": {"child": 3}}') == "n.child: 3 is not of type 'object'"


def test_an_answer_fits_or_the_reason_is_told() -> None:
    schema = read_schema(text())
    assert schema.read('{"amount": 3, "currency": "EUR"}') == {"amount": 3, "currency": "EUR"}
    assert schema.fault('{"amount": 3}') == "the top: 'currency' is a required property"
    assert schema.fault('{"amount": "3", "currency": "EUR"}') == "amount: '3' is not of type 'number'"
    assert "it is not JSON" in str(schema.fault("three euro"))
    assert "it is not JSON" in str(schema.fault('{"amount": NaN, "currency": "EUR"}'))
    assert schema.fault("[1]") == "the top: [1] is not of type 'object'"


def test_answers_that_fit_but_cannot_come_out_so() -> None:
    schema = read_schema(text())
    assert schema.order_fault('{"amount": 3, "currency": "EUR"}') is None
    assert "another order" in str(schema.order_fault('{"currency": "EUR", "amount": 3}'))
    assert "does not name 'note'" in str(schema.order_fault('{"amount": 3, "currency": "EUR", "note": ""}'))
    nested = read_schema(text(properties={"list": {"type": "array", "items": EXPENSE}}, required=[]))
    assert "list[0]" in str(nested.order_fault('{"list": [{"currency": "EUR", "amount": 3}]}'))
    assert read_schema(text(additionalProperties=True)).order_fault('{"amount": 1, "currency": "EUR", "x": 1}') is None


def test_no_reference_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(BadInputError, match="into the schema itself"):
        read_schema(json.dumps({"type": "object", "$defs": {"x": {"$ref": "http://example.org/a"}}}))


def test_schemas_need_no_torch() -> None:
    code = (
        "import sys; from tokmem_desk.templates.json_schema import read_schema; "
        f"read_schema({text()!r}).fault('{{}}'); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Schemas and answers that would take for ever


def text_of(**properties: Any) -> str:
    return json.dumps({"type": "object", "properties": properties})


@pytest.mark.parametrize("bad", ["(?=a)b", r"(a)\1", "(?<!x)y", "((a{1,100}){1,100}){1,100}", "("])
@pytest.mark.parametrize("key", ["pattern", "patternProperties"])
def test_expressions_that_need_trial_and_error_are_refused_by_place(key: str, bad: str) -> None:
    part = {"type": "string", "pattern": bad} if key == "pattern" else {"patternProperties": {bad: {}}}
    with pytest.raises(BadInputError, match=r"at properties\.a: .* (cannot be matched safely|is not a regular)"):
        read_schema(text_of(a=part))


def test_expressions_of_a_schema_are_matched_and_never_hang() -> None:
    script = (
        "import json\n"
        "from tokmem_desk.templates.json_schema import read_schema\n"
        "schema = read_schema(json.dumps({'type': 'object', 'properties': {'a': {'type': 'string',\n"
        "    'pattern': '^(a+)+b$'}}, 'patternProperties': {'^(x+)+y$': {'type': 'integer'}},\n"
        "    'additionalProperties': False}))\n"
        "print(schema.fault(json.dumps({'a': 'a' * 5000})) is not None)\n"
        "print(schema.fault(json.dumps({'x' * 5000: 1})) is not None)\n"
        "print(schema.fault(json.dumps({'a': 'aab', 'xxy': 1})), schema.fault(json.dumps({'xy': 'no'})) is not None)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["True", "True", "None", "True"]


def test_references_that_branch_are_given_up() -> None:
    """Each level asks for the one below twice: 2 to the power of 30 steps."""
    parts: dict[str, Any] = {"p0": {"type": "string", "minLength": 2}}
    for level in range(1, 31):
        parts[f"p{level}"] = {"anyOf": [{"$ref": f"#/$defs/p{level - 1}"}, {"$ref": f"#/$defs/p{level - 1}"}]}
    document = {"type": "object", "properties": {"a": {"$ref": "#/$defs/p30"}}, "$defs": parts}
    fault = read_schema(json.dumps(document)).fault('{"a": "x"}')
    assert fault is not None
    assert "steps" in fault


def test_references_in_a_circle_and_numbers_without_end_are_faults() -> None:
    circle = {"x": {"$ref": "#/$defs/y"}, "y": {"$ref": "#/$defs/x"}}
    schema = read_schema(json.dumps({"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": circle}))
    assert schema.fault('{"a": 1}') is not None
    many = read_schema(text_of(a={"type": "integer", "multipleOf": 2}))
    assert many.fault('{"a": ' + "9" * 5000 + "}") is not None
    assert many.fault('{"a": ' + "8" * 4000 + "}") is None
