"""``README.md`` of a bank file: who may use it, what it belongs to, what is inside, what it can reveal."""

from __future__ import annotations

import json
from collections.abc import Mapping

UNKNOWN_LICENCE = "unknown"


def readme_text(
    title: str, model: str, descriptions: Mapping[str, str], *, licence: str = "", with_pairs: bool = False
) -> str:
    """A model card in Markdown: who may use the bank, what it belongs to, what is inside.

    Args:
        title: for people.
        model: the id of the backbone.
        descriptions: of the bank's procedures, by name, in their order; empty where there is none.
        licence: of the bank; empty when nobody said.
        with_pairs: whether example pairs are in the bank.
    """
    head = {
        "license": licence or UNKNOWN_LICENCE,
        "base_model": model,
        "base_model_relation": "adapter",
        "tags": ["tokmem", "procedural-memory"],
    }
    front = "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items())
    names = "\n".join(
        f"- `{name}`: {' '.join(text.split()) or 'no description'}" for name, text in descriptions.items()
    )
    pairs = "The example pairs are inside too." if with_pairs else "No example pairs are inside."
    return (
        f"---\n{front}\n---\n\n# {' '.join(title.split())}\n\n"
        f"A bank of {len(descriptions)} procedural memories for the language model "
        f"{model}, for tokmem-desk (`tokmem-desk bank inspect FILE`).\n\n{names}\n\n"
        f"{pairs} A memory was trained on texts and can reveal parts of them: whoever has this file and the model can "
        "ask the memory. Pass it on only where those texts may go.\n"
    )
