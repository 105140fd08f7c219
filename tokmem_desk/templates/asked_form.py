"""A form to which a program holds one answer: a schema, any JSON object, calls of its own tools, or a beginning.

A procedure's schema is the procedure's own and lies with it (``json_schema``); this one comes with a single request. It
is plain data, so that it can be checked where the request is read and sent to where the answer is made. Imports no
torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tokmem_desk.errors import BadInputError, UsageError
from tokmem_desk.templates.json_schema import WHITESPACE, OutputSchema, grammar_of, read_schema

MOST_CALLS = 128
_LONGEST_BEGINNING = 20_000
_ANY_OBJECT = {"type": "object"}
_NO_ARGUMENTS = {"type": "object", "properties": {}, "additionalProperties": False}


@dataclass(frozen=True, slots=True)
class CallForm:
    """One tool that may be called."""

    name: str
    parameters: OutputSchema

    def read(self, call: Mapping[str, Any]) -> str | None:
        """Why the arguments of a call do not fit, or None when they do."""
        return self.parameters.fault_of(call.get("arguments"))


@dataclass(frozen=True, slots=True)
class AskedForm:
    """What an answer must be. One of ``schema``, ``json_object``, ``calls`` and ``beginning`` is given."""

    schema: OutputSchema | None = None
    json_object: bool = False
    calls: tuple[CallForm, ...] = ()
    text_too: bool = False
    """Of calls: the answer may also be text that does not begin with a brace."""
    beginning: str = ""
    """Text with which the answer begins."""

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> AskedForm:
        """From plain data.

        Args:
            fields: ``schema`` (an object), ``json_object`` (true), ``calls`` (a list of {name, parameters}) with
                ``text_too``, or ``beginning`` (text).

        Raises:
            BadInputError: a schema to which no answer can be held; the text says where and why.
            UsageError: it is none of these, or more than one.
        """
        kinds = [name for name in ("schema", "json_object", "calls", "beginning") if fields.get(name)]
        if len(kinds) != 1:
            raise UsageError("An answer can be held to one form: a schema, a JSON object, calls, or a beginning.")
        if kinds == ["schema"]:
            return cls(schema=read_schema(json.dumps(fields["schema"])))
        if kinds == ["json_object"]:
            return cls(json_object=True)
        if kinds == ["beginning"]:
            beginning = str(fields["beginning"])
            if len(beginning) > _LONGEST_BEGINNING:
                raise UsageError(f"The beginning of an answer may have {_LONGEST_BEGINNING:,} characters.")
            return cls(beginning=beginning)
        calls = fields["calls"]
        if len(calls) > MOST_CALLS:
            raise UsageError(f"An answer may be one of {MOST_CALLS} calls; these are {len(calls)}.")
        forms = tuple(
            CallForm(str(one["name"]), read_schema(_parameters(one), f"The tool {one['name']!r}")) for one in calls
        )
        return cls(calls=forms, text_too=bool(fields.get("text_too")))

    @property
    def plain_only(self) -> bool:
        """True for forms of plain chat: a procedure answers as it has learned to."""
        return bool(self.calls or self.beginning)

    @property
    def grammar(self) -> str:
        """The grammar of fitting answers, as llguidance reads it.

        Raises:
            BadInputError: llguidance cannot read what came out.
        """
        from llguidance import LLMatcher

        if self.schema is not None:
            return self.schema.grammar
        if self.json_object:
            return grammar_of(_ANY_OBJECT)
        try:
            return str(LLMatcher.grammar_from_lark(self._beginning() if self.beginning else self._calls()))
        except ValueError as caught:
            raise BadInputError(f"No answer can be held to that ({caught}).", next_step="Make it simpler.") from caught

    def fault(self, text: str) -> str | None:
        """Why a finished answer is not the object that it must be; None where it is, and for the other forms."""
        if self.schema is not None:
            return self.schema.fault(text)
        if not self.json_object:
            return None
        try:
            return None if isinstance(json.loads(text), dict) else "it is no JSON object"
        except (ValueError, RecursionError):
            return "it is no JSON object"

    def call_of(self, text: str) -> tuple[str, str] | None:
        """The name and the arguments, as JSON, of an answer that is a call; None where it is text or was cut short."""
        try:
            call = json.loads(text)
        except (ValueError, RecursionError):
            return None
        form = next((one for one in self.calls if isinstance(call, dict) and one.name == call.get("name")), None)
        if form is None or form.read(call) is not None:
            return None
        return form.name, json.dumps(call["arguments"], ensure_ascii=False)

    def _beginning(self) -> str:
        return f"start: {json.dumps(self.beginning)} rest\nrest: /(.|\\n)*/\n"

    def _calls(self) -> str:
        names = [f"call{place}" for place in range(len(self.calls))]
        lines = [f"start: {' | '.join([*(['text'] if self.text_too else []), *names])}"]
        if self.text_too:
            lines.append(r"text: /[^{](.|\n)*/")
        for name, call in zip(names, self.calls, strict=True):
            head = json.dumps(f'{{"name": {json.dumps(call.name)}, "arguments": ', ensure_ascii=False)
            schema = {**call.parameters.closed, "x-guidance": {"whitespace_pattern": WHITESPACE}}
            lines += [f'{name}: {head} {name}_arguments "}}"', f"{name}_arguments: %json {json.dumps(schema)}"]
        return "\n".join(lines) + "\n"


def _parameters(call: Mapping[str, Any]) -> str:
    return json.dumps(call.get("parameters") or _NO_ARGUMENTS)
