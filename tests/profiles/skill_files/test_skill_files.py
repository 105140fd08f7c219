"""Texts of other programs: what is read out of each form, and that what we write comes back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from profiles.skill_files.blocks import example_pairs
from profiles.skill_files.folder import read_folder
from profiles.skill_files.modelfile import quoted_value
from profiles.skill_files.reading import MAX_CHARACTERS, read_skill
from profiles.skill_files.skill import as_name
from profiles.skill_files.writing import EXPORT_FORMS, ExportForm, written_skill
from tokmem_desk.errors import BadInputError, NotFoundError
from tokmem_desk.procedures import ExamplePair, Procedure

SKILL = """---
name: Release Notes
description: Turns a list of commits
  into release notes.
allowed-tools: [Bash]
---
# Release notes

Group by kind.

## Examples

Input:
```
fix: crash on start
```

Output:
````md
```
- Fixed: crash on start
```
````
"""

PATTERN = """# IDENTITY and PURPOSE

You extract the names of people from a text.

# STEPS

- Read it twice.

# OUTPUT INSTRUCTIONS

- One name a line.

# INPUT

INPUT:
"""

MODELFILE = '''# mine
FROM llama3.2
PARAMETER temperature 0.2
SYSTEM """You file notes.
Answer with one word."""
MESSAGE user the tap drips
MESSAGE assistant plumbing
MESSAGE user """two
lines"""
MESSAGE assistant "none"
TEMPLATE "{{ .Prompt }}"
'''


def _texts(pairs: tuple[ExamplePair, ...]) -> list[tuple[str, str]]:
    return [(pair.input, pair.response) for pair in pairs]


def test_a_skill_brings_name_description_and_examples() -> None:
    skill = read_skill(SKILL, "SKILL.md")
    assert (skill.form, skill.name) == ("skill", "release-notes")
    assert skill.description == "Turns a list of commits into release notes."
    assert _texts(skill.pairs) == [("fix: crash on start", "```\n- Fixed: crash on start\n```")]
    assert skill.text.startswith("# Release notes") and "names tools" in skill.notes[0]


def test_a_pattern_is_known_by_its_headings() -> None:
    skill = read_skill(PATTERN, "system.md")
    assert skill.form == "pattern" and not skill.pairs and not skill.text.endswith("INPUT:")
    assert skill.description == "You extract the names of people from a text."


def test_a_modelfile_has_its_messages_as_pairs() -> None:
    skill = read_skill(MODELFILE)
    assert skill.form == "modelfile" and skill.text == "You file notes.\nAnswer with one word."
    assert _texts(skill.pairs) == [("the tap drips", "plumbing"), ("two\nlines", "none")]
    assert skill.notes == ("Its TEMPLATE is not taken along.",)


def test_a_template_of_llm_is_filled_in() -> None:
    text = "system: Write in $lang for $$5\nprompt: 'Shorten: $input'\ndefaults:\n  lang: Dutch\n"
    skill = read_skill(text, "short.yaml")
    assert (skill.form, skill.text) == ("llm", "Write in Dutch for $5\n\nShorten: ")
    with pytest.raises(BadInputError, match=r"nothing fills in: \$lang.*under 'defaults'"):
        read_skill(text.partition("defaults")[0], "short.yaml")


def test_the_schema_of_a_template_is_taken() -> None:
    text = "system: Read the order\nschema_object:\n  type: object\n  properties: {n: {type: integer}}\n"
    schema = read_skill(text, "order.yml").output_schema
    assert schema is not None and json.loads(schema)["properties"] == {"n": {"type": "integer"}}


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("Input: a\nOutput: b\n\nInput: c\nOutput: d", [("a", "b"), ("c", "d")]),
        ("Q: one\ntwo\nA: three\n\nmore\n\nQ: x\nA: y", [("one\ntwo", "three"), ("x", "y")]),
        ("**User:** a\n**Assistant:** b\n---\n**User:** c\n**Assistant:** d", [("a", "b"), ("c", "d")]),
        ("### Example input 1\na\n\n### Example output 1\nb", [("a", "b")]),
        ("<example><input>a</input>\n<output>b</output></example>", [("a", "b")]),
        ("Input: the text of a person\nOutput: a summary of it", []),
        ("## Input\n\nA file of notes.\n\n## Output\n\nA table.", []),
        ("Input:\n```\n{text}\n```\nOutput:\n```\n{answer}\n```", []),
        ("Input: {input}\nOutput: ...\n\nInput: $input\nOutput: [answer]", []),
        ("```\nInput: a\nOutput: b\n\nInput: c\nOutput: d\n```", []),
    ],
)
def test_examples_in_a_text(text: str, pairs: list[tuple[str, str]]) -> None:
    assert _texts(example_pairs(text)) == pairs


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("  \n", "", "is empty"),
        ("a\0b", "", "NUL"),
        ("a" * (MAX_CHARACTERS + 1), "", "characters"),
        ("---\nname: [\n---\nx", "SKILL.md", "YAML that cannot be read"),
        ("system: ''\n", "x.yaml", "holds no instructions"),
        ("FROM x\nPARAMETER top_k 3\n", "Modelfile", "no SYSTEM text"),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_to_do(text: str, name: str, said: str) -> None:
    with pytest.raises(BadInputError, match=said) as caught:
        read_skill(text, name)
    assert caught.value.next_step


_TEXT = st.text(
    st.one_of(
        st.sampled_from("`~\"'$#:- \nInputOutput<>{}[]\\|%&"), st.characters(exclude_characters="\0\r", codec="utf-8")
    ),
    min_size=1,
    max_size=40,
).filter(lambda text: bool(text.strip()))


@given(st.lists(st.tuples(_TEXT, _TEXT), min_size=1, max_size=4), st.sampled_from(EXPORT_FORMS))
@example([("```\nOutput:\n```", "$input ${x} $$"), ('say """x"""', "[x]")], "llm")
@example([(" a\n", '"'), ("MESSAGE user x", "a\nSYSTEM y")], "modelfile")
@example([("<input>a</input><output>b</output>", "...")], "prompt")
@settings(max_examples=300, deadline=None)
def test_what_is_written_comes_back(texts: list[tuple[str, str]], form: ExportForm) -> None:
    pairs = tuple(ExamplePair(given, answer) for given, answer in texts)
    schema = '{"type": "object", "properties": {"n": {"type": "integer"}}}'
    text, left_out = written_skill(Procedure("my_notes", pairs, description="Files notes.", output_schema=schema), form)
    skill = read_skill(text, {"skill": "SKILL.md", "llm": "x.yaml", "modelfile": "Modelfile"}.get(form, "x.md"))
    assert skill.form == form and skill.output_schema is not None
    if form == "modelfile":
        pairs = tuple(p for p in pairs if None not in (quoted_value(p.input), quoted_value(p.response)))
    assert skill.pairs == pairs and left_out == len(texts) - len(pairs)


def test_a_text_with_other_line_ends_is_counted_not_changed() -> None:
    text, left_out = written_skill(Procedure("p", (ExamplePair("a\rb", "c"), ExamplePair("d", "e"))), "skill")
    assert left_out == 1 and _texts(read_skill(text).pairs) == [("d", "e")]


def test_names_are_made_of_what_is_there() -> None:
    assert as_name("Réunion: à 9h!") == "reunion-a-9h" and as_name("会議") == as_name("None") == ""


def test_a_folder_tells_what_it_cannot_use(tmp_path: Path) -> None:
    for name, text in {
        "release/SKILL.md": SKILL,
        "release/more/part.md": "belongs to the skill",
        "patterns/names/system.md": PATTERN,
        "patterns/names/user.md": "belongs to the pattern",
        "release-notes.md": "Another of the same name.",
        "short.yaml": "system: $missing\n",
        "Modelfile": MODELFILE,
        "README.md": "about",
        "image.png": "x",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "old.txt").write_bytes(b"\xff\xfe")
    used, unused = read_folder(tmp_path)
    assert {one.name: one.path.name for one in used} == {
        "modelfile": "Modelfile",
        "release-notes": "release-notes.md",
        "names": "system.md",
    }
    reasons = {path.relative_to(tmp_path).as_posix(): reason for path, reason in unused}
    assert "another one called release-notes" in reasons.pop("release/SKILL.md")
    assert "$missing" in reasons.pop("short.yaml") and "UTF-8" in reasons.pop("old.txt") and not reasons


def test_a_folder_without_any_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no skill.*SKILL\.md"):
        read_folder(tmp_path)
