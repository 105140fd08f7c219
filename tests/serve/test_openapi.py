"""The OpenAPI document, and requests that are made of it: each answer is what the document says (Schemathesis)."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import jsonschema
import pytest

from profiles.files.paths import AppPaths
from profiles.registry.registry import ProfileRegistry
from tests.serve.conftest import Served
from tui.serve.endpoints import ENDPOINTS, document

EXAMPLES = 12
"""Requests to each address; more find little that is new, and everything is slower on two cores."""

CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
)  # fmt: skip
KNOWN: dict[str, dict[str, Any]] = {
    "complete": {"model": "auto", "tools": None, "tool_choice": None, "response_format": None},
    "complete_prompt": {"model": "auto"},
    "respond": {"model": "auto"},
    "message": {"model": "auto", "tools": None, "tool_choice": None, "system": None},
    "embeddings": {"model": "auto"},
    "add_procedure": {"schema": None},
    "feedback": {"route": "todo_line", "got": None},
}
"""What no schema can know: names, and schemas that can be kept."""


async def test_the_document_is_there_without_a_token(served: Served) -> None:
    served.http.headers.pop("authorization")
    answered = await served.http.get("/openapi.json")
    assert answered.status_code == 200 and answered.json() == document()


def test_every_address_stands_in_the_document() -> None:
    paths = document()["paths"]
    assert {(method.upper(), path) for path, methods in paths.items() for method in methods} == {
        (one.method, one.path.replace(":path", "")) for one in ENDPOINTS
    }
    for methods in paths.values():
        for operation in methods.values():
            if "requestBody" in operation:
                schema = operation["requestBody"]["content"]["application/json"]["schema"]
                jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("endpoint", [one for one in ENDPOINTS if one.scope is not None], ids=lambda one: one.handler)
async def test_every_address_but_the_document_asks_for_a_token(served: Served, endpoint: Any) -> None:
    served.http.headers.pop("authorization")
    address = endpoint.path.replace("{model:path}", "auto")
    assert (await served.http.request(endpoint.method, address, json={})).status_code == 401


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda one: f"{one.method}-{one.handler}")
async def test_answers_are_what_the_document_says(served: Served, paths: AppPaths, endpoint: Any) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, given, seed, settings

    with ProfileRegistry(paths) as registry:
        token = registry.tokens.create("teacher", "default", scope="teach")
    schema = schemathesis.openapi.from_dict(document())
    operation = schema[endpoint.path.replace(":path", "")][endpoint.method]
    headers = {"Authorization": f"Bearer {token}"}
    seen: list[int] = []

    # What the document allows may be refused all the same: no model has that name, no text fits that tool.
    checks = [getattr(schemathesis.checks, name) for name in CHECKS]

    def tried(strategy: Any, known: dict[str, Any]) -> None:
        @seed(1)
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def ask(case: Any) -> None:
            if isinstance(case.body, dict):
                case.body |= known
            response = case.call(base_url=served.url, headers=headers)
            case.validate_response(response, checks=checks)
            seen.append(response.status_code)

        ask()

    await asyncio.to_thread(tried, operation.as_strategy(), KNOWN.get(endpoint.handler, {}))
    modes = schemathesis.GenerationMode
    if endpoint.body is not None:
        assert seen  # what is made up may all be refused; that the examples are answered says the test below
        await asyncio.to_thread(tried, operation.as_strategy(generation_mode=modes.NEGATIVE), {})
        assert max(seen) < 500


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda one: f"{one.method}-{one.handler}")
async def test_the_example_of_each_address_is_answered(served: Served, paths: AppPaths, endpoint: Any) -> None:
    with ProfileRegistry(paths) as registry:
        token = registry.tokens.create("teacher", "default", scope="teach")
    path = endpoint.path.replace(":path", "")
    operation = document()["paths"][path][endpoint.method.lower()]
    for parameter in operation.get("parameters", ()):
        path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
    body = operation["requestBody"]["content"]["application/json"] if "requestBody" in operation else {}
    if body:
        jsonschema.validate(body["example"], body["schema"])
    asked = {"headers": {"Authorization": f"Bearer {token}"}, "timeout": 60}
    answered = await served.http.request(endpoint.method, path, json=body.get("example"), **asked)
    assert answered.status_code == endpoint.status, answered.text
    content = operation["responses"][str(endpoint.status)]["content"]
    jsonschema.validate(answered.json(), content["application/json"]["schema"])
    assert endpoint.streams == ("text/event-stream" in content)
    if endpoint.streams:
        answered = await served.http.request(endpoint.method, path, json={**body["example"], "stream": True}, **asked)
        assert answered.status_code == 200 and answered.headers["content-type"].startswith("text/event-stream")
        assert '"error": {' not in answered.text


def test_refusals_have_the_form_that_the_document_says() -> None:
    schemas = document()["components"]["schemas"]
    reason = {"message": "No.", "type": "invalid_request_error", "param": None, "code": "x"}
    for name, more in (("Error", {}), ("AnthropicError", {"type": "error"})):
        jsonschema.validate({**more, "error": reason}, schemas[name])
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**more, "error": {**reason, "trace": ""}}, schemas[name])
    assert not re.search("localhost|127", json.dumps(document()))
