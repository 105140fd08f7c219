"""``README.md`` of a bank file: who may use it, what it belongs to, what is inside, what it can reveal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokmem_desk.bank.writer import ExportBank

UNKNOWN_LICENCE = "unknown"


def card_text(bank: ExportBank, model: str) -> str:
    """A model card: who may use it, what it belongs to, what is inside."""
    head = {
        "license": bank.licence or UNKNOWN_LICENCE,
        "base_model": model,
        "base_model_relation": "adapter",
        "tags": ["tokmem", "procedural-memory"],
    }
    front = "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items())
    with_pairs = any(one.pairs is not None for one in bank.procedures)
    names = "\n".join(
        f"- `{one.name}`: {' '.join(one.description.split()) or 'no description'}" for one in bank.procedures
    )
    pairs = "The example pairs are inside too." if with_pairs else "No example pairs are inside."
    return (
        f"---\n{front}\n---\n\n# {' '.join(bank.title.split())}\n\n"
        f"A bank of {len(bank.procedures)} procedural memories for the language model "
        f"{model}, for tokmem-desk (`tokmem-desk bank inspect FILE`).\n\n{names}\n\n"
        f"{pairs} A memory was trained on texts and can reveal parts of them: whoever has this file and the model can "
        "ask the memory. Pass it on only where those texts may go.\n"
    )
