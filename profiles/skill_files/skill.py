"""What a text of another program holds, whatever its form."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from tokmem_desk.procedures import ExamplePair

SkillForm = Literal["skill", "pattern", "llm", "modelfile", "prompt"]

FORM_NAMES: dict[SkillForm, str] = {
    "skill": "a skill with front matter",
    "pattern": "a fabric pattern",
    "llm": "a template of llm",
    "modelfile": "an Ollama Modelfile",
    "prompt": "a prompt",
}

MAX_DESCRIPTION_CHARACTERS = 300
_NAME_CHARACTERS = 40
_NOT_IN_NAMES = re.compile(r"[^a-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Skill:
    """Instructions, and what else the text says.

    Attributes:
        form: how it was written.
        text: the instructions.
        name: as the text calls itself, in the form of our names; empty where it does not.
        description: what it does, in a sentence or two; may be empty.
        pairs: examples that stand in the text.
        output_schema: the JSON schema of its answers, if it has one.
        notes: sentences on what is not taken along.
    """

    form: SkillForm
    text: str
    name: str = ""
    description: str = ""
    pairs: tuple[ExamplePair, ...] = ()
    output_schema: str | None = None
    notes: tuple[str, ...] = ()


def as_name(text: str) -> str:
    """A text as a name of a procedure; empty where nothing of it can stand in one, or it is reserved."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    name = _NOT_IN_NAMES.sub("-", plain).strip("-_")[:_NAME_CHARACTERS].strip("-_")
    return "" if name in ("none", "auto") else name
