"""Read a text of another program; its form is told from the content, and from the file's name where that says more."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from profiles.skill_files.blocks import example_pairs
from profiles.skill_files.modelfile import commands_of, is_modelfile
from profiles.skill_files.skill import MAX_DESCRIPTION_CHARACTERS, Skill, as_name
from profiles.store.pair_rules import text_fault
from tokmem_desk.errors import BadInputError, TokmemError
from tokmem_desk.procedures import ExamplePair
from tokmem_desk.templates.json_schema import read_schema

MAX_CHARACTERS = 200_000
"""Longer than any context; what is longer is no text of instructions."""

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(?P<front>.*?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)
_PATTERN = re.compile(r"^#+[ \t]*(?:IDENTITY|OUTPUT INSTRUCTIONS)\b", re.MULTILINE)
_PATTERN_END = re.compile(r"\n#+[ \t]*INPUT:?[ \t]*\n(?:\s*INPUT:?)?\s*\Z|\n\s*INPUT:?\s*\Z")
_SCHEMA = re.compile(
    r"^#+[ \t]*JSON schema of the answer[ \t]*\n+(?P<fence>`{3,})(?:json)?\n(?P<schema>.*?)\n(?P=fence)", re.M | re.S
)
_VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|(?P<named>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*)\})")


def read_skill(text: str, file_name: str = "") -> Skill:
    """Read one text.

    Args:
        text: the whole file.
        file_name: where it came from; empty where nothing is known.

    Raises:
        BadInputError: it is empty, too long, or damaged in its form.
    """
    shown = file_name or "The text"
    text = text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    if not text.strip():
        raise BadInputError(f"{shown} is empty.", next_step="Write what the procedure is to do.")
    if fault := text_fault(text[: MAX_CHARACTERS + 1]):
        raise BadInputError(f"{shown} {fault}.", next_step="Correct it and try again.")
    if len(text) > MAX_CHARACTERS:
        raise BadInputError(
            f"{shown} has {len(text):,} characters; instructions may have {MAX_CHARACTERS:,}.",
            next_step="Take the part that says what to do.",
        )
    path = PurePath(file_name)
    if (front := _FRONT_MATTER.match(text)) is not None:
        skill = _skill(_mapping(front["front"], shown), text[front.end() :].strip("\n"))
    elif is_modelfile(text) or path.name.lower().startswith("modelfile") or path.suffix.lower() == ".modelfile":
        skill = _modelfile(text, shown)
    elif path.suffix.lower() in (".yaml", ".yml") or _looks_like_template(text):
        skill = _template(_mapping(text, shown), shown)
    elif _PATTERN.search(text) is not None:
        body = _PATTERN_END.sub("\n", text).strip()
        skill = Skill("pattern", body, description=_first_sentence(body), pairs=example_pairs(body))
    else:
        schema, body = _schema_in(text.strip("\n"))
        skill = Skill("prompt", body, "", _first_sentence(body), example_pairs(body), schema)
    if not skill.text.strip() and not skill.pairs:
        raise BadInputError(f"{shown} holds no instructions.", next_step="Write what the procedure is to do.")
    return skill


def _mapping(text: str, shown: str) -> Mapping[str, Any]:
    import yaml  # here: few commands read any

    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = "" if line is None else f" (line {line + 1})"
        raise BadInputError(f"{shown} has YAML that cannot be read{where}.", next_step="Correct it.") from None
    return found if isinstance(found, Mapping) else {}


def _text_in(found: Mapping[str, Any], key: str) -> str:
    value = found.get(key)
    return value if isinstance(value, str) else ""


def _skill(front: Mapping[str, Any], body: str) -> Skill:
    schema, body_text = _schema_in(body)
    notes = []
    if front.get("allowed-tools") or front.get("tools"):
        notes.append("It names tools of its program; a procedure answers with text alone.")
    description = " ".join(_text_in(front, "description").split()) or _first_sentence(body)
    return Skill(
        "skill",
        body_text or description,
        as_name(_text_in(front, "name")),
        description[:MAX_DESCRIPTION_CHARACTERS],
        example_pairs(body_text),
        schema,
        tuple(notes),
    )


def _schema_in(text: str) -> tuple[str | None, str]:
    """The schema that our own writing puts under its heading, and the text without it."""
    match = _SCHEMA.search(text)
    if match is None:
        return None, text
    try:
        schema = read_schema(match["schema"]).text
    except TokmemError:
        return None, text
    return schema, (text[: match.start()] + text[match.end() :]).strip("\n")


def _looks_like_template(text: str) -> bool:
    return re.match(
        r"(?:#[^\n]*\n|\s*\n)*(?:system|prompt|name|model|schema_object|defaults):(?:[ \t]|\n)", text
    ) is not None and (re.search(r"^(?:system|prompt):(?:[ \t]|$)", text, re.MULTILINE) is not None)


def _template(found: Mapping[str, Any], shown: str) -> Skill:
    """A template of llm: ``system`` and ``prompt``, in which ``$input`` stands for the message."""
    defaults = found.get("defaults")
    filled = {"input": ""} | ({str(k): str(v) for k, v in defaults.items()} if isinstance(defaults, Mapping) else {})
    missing: list[str] = []

    def fill(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        name = match["named"] or match["braced"]
        if name not in filled:
            missing.append(name)
        return filled.get(name, "")

    parts = [_VARIABLE.sub(fill, _text_in(found, key)).strip("\n") for key in ("system", "prompt")]
    if missing:
        raise BadInputError(
            f"{shown} has values that nothing fills in: {', '.join(f'${name}' for name in dict.fromkeys(missing))}.",
            next_step="Give each under 'defaults', or write it into the text.",
        )
    text = "\n\n".join(part for part in parts if part.strip())
    schema, text = _schema_in(text)
    given = found.get("schema_object")
    if schema is None and isinstance(given, Mapping):
        schema = read_schema(json.dumps(given)).text
    notes = [
        f"Its {key} is not taken along."
        for key in ("fragments", "system_fragments", "attachments", "tools")
        if found.get(key)
    ]
    return Skill(
        "llm",
        text,
        as_name(_text_in(found, "name")),
        _first_sentence(text),
        example_pairs(text),
        schema,
        tuple(notes),
    )


def _modelfile(text: str, shown: str) -> Skill:
    system, pairs, asked, notes = "", [], None, []
    for word, role, value in commands_of(text):
        if word == "SYSTEM" or (word == "MESSAGE" and role == "system"):
            system = value
        elif role == "user":
            asked = value
        elif role == "assistant":
            if asked is not None:
                pairs.append(ExamplePair(asked, value))
            asked = None
        elif word in ("TEMPLATE", "ADAPTER"):
            notes.append(f"Its {word} is not taken along.")
    schema, system = _schema_in(system)
    if not system.strip() and not pairs:
        raise BadInputError(
            f"{shown} has no SYSTEM text and no MESSAGE.", next_step="Write what the procedure is to do."
        )
    return Skill(
        "modelfile",
        system.strip("\n"),
        description=_first_sentence(system),
        pairs=(*pairs, *example_pairs(system)),
        output_schema=schema,
        notes=tuple(notes),
    )


def _first_sentence(text: str) -> str:
    """The first line that is neither a heading nor a label of a part."""
    for line in text.split("\n"):
        plain = line.strip()
        if plain and not plain.startswith(("#", "```", "---")) and not plain.endswith(":"):
            return plain[:MAX_DESCRIPTION_CHARACTERS]
    return ""
