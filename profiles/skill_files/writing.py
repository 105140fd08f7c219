"""Write a procedure for other programs: a skill, a few-shot prompt, a template of llm, a Modelfile of Ollama.

Read back, each gives the same pairs. Where a form cannot hold a text exactly, the pair is left out and counted.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from profiles.skill_files.blocks import fenced, written_pairs
from profiles.skill_files.modelfile import quoted_value
from tokmem_desk.procedures import ExamplePair, Procedure

ExportForm = Literal["skill", "prompt", "llm", "modelfile"]
EXPORT_FORMS: tuple[ExportForm, ...] = ("skill", "prompt", "llm", "modelfile")
BASE_MODEL = "llama3.2"
"""What a Modelfile names; whoever uses it puts their own there."""


def written_skill(procedure: Procedure, form: ExportForm) -> tuple[str, int]:
    """The text, and how many pairs the form could not hold.

    Only pairs to learn from are written; held-out ones measure.
    """
    # Line ends are written as one kind, so a text with others would not come back.
    pairs = [pair for pair in procedure.pairs if "\r" not in pair.input + pair.response]
    left_out = len(procedure.pairs) - len(pairs)
    if form == "modelfile":
        text, more = _modelfile(procedure, pairs)
        return text, left_out + more
    body = _body(procedure, pairs)
    if form == "skill":
        front = {"name": procedure.name.replace("_", "-"), "description": _description(procedure)}
        return f"---\n{_yaml(front)}---\n\n{body}\n", left_out
    if form == "llm":
        escaped = body.replace("$", "$$")
        return _yaml({"system": escaped, "prompt": "$input"}), left_out
    return f"{body}\n\n## Now\n\nInput:\n", left_out


def _description(procedure: Procedure) -> str:
    """A skill must have one: clients choose by it."""
    if procedure.description.strip():
        return " ".join(procedure.description.split())
    first = procedure.pairs[0].input if procedure.pairs else ""
    return f"Answers messages such as: {' '.join(first.split())[:200]}" if first else procedure.name


def _body(procedure: Procedure, pairs: list[ExamplePair]) -> str:
    parts = [
        f"# {procedure.name}",
        procedure.description.strip() or "Answer each input as in the examples.",
        "Answer with the output alone, in exactly the form of the examples.",
    ]
    if procedure.output_schema is not None:
        schema = json.dumps(json.loads(procedure.output_schema), ensure_ascii=False, indent=2)
        parts.append(f"## JSON schema of the answer\n\n{fenced(schema, 'json')}")
    if pairs:
        parts.append(f"## Examples\n\n{written_pairs(pairs)}")
    return "\n\n".join(parts)


def _modelfile(procedure: Procedure, pairs: list[ExamplePair]) -> tuple[str, int]:
    body = _body(procedure, []).replace('"""', "'''")
    lines = [
        "# Put the model that you use behind FROM, then: ollama create NAME -f THIS_FILE",
        f"FROM {BASE_MODEL}",
        f'SYSTEM """{body}\n"""',
    ]
    left_out = 0
    for pair in pairs:
        values = [quoted_value(pair.input), quoted_value(pair.response)]
        if None in values:
            left_out += 1
            continue
        lines += [f"MESSAGE user {values[0]}", f"MESSAGE assistant {values[1]}"]
    return "\n".join(lines) + "\n", left_out


def _yaml(value: dict[str, str]) -> str:
    import yaml  # here: few commands write any

    class Dumper(yaml.SafeDumper):  # type: ignore[misc]
        """Texts of several lines stand as such, where YAML can hold them so."""

    def text(dumper: Any, value: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, text)
    return yaml.dump(value, Dumper=Dumper, allow_unicode=True, sort_keys=False, width=1000)
