"""The file of a chat export, read as a whole."""

from __future__ import annotations

import json
from pathlib import Path

from profiles.files.atomic import storage_error
from profiles.pair_files.chat_databases import MAGIC, database_talks
from profiles.pair_files.chat_exports import ExportedTalk, exported_talk
from profiles.pair_files.readers import refuse_costly
from tokmem_desk.errors import BadInputError, NotFoundError

MAX_BYTES = 512 * 1024 * 1024
"""Years of conversations; an export holds each branch of them."""

_HOW = (
    "Give conversations.json of ChatGPT or Claude (unpacked), an export of Open WebUI, a conversation of LM Studio, "
    "oterm's store.db or llm's logs.db."
)


def read_export(path: Path) -> list[ExportedTalk]:
    """The conversations of an export, in its order.

    Raises:
        BadInputError: it is no such export, or too large.
        NotFoundError: there is no such file.
        StorageError: it cannot be read.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadInputError(f"{path} is larger than {MAX_BYTES // 2**20} MB.", next_step="Split it.")
        with path.open("rb") as file:
            is_database = file.read(len(MAGIC)) == MAGIC
        text = "" if is_database else path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise NotFoundError(f"There is no file {path}.", next_step="Check the path.") from None
    except OSError as caught:
        raise storage_error(f"{path} could not be read", caught) from caught
    except UnicodeDecodeError:
        raise BadInputError(f"{path} is not UTF-8 text.", next_step=_HOW) from None
    if is_database:
        return database_talks(path)
    refuse_costly(path, text)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise BadInputError(f"{path} is not JSON.", next_step=_HOW) from None
    if isinstance(document, dict):
        document = document.get("conversations", [document])
    rows = document if isinstance(document, list) else []
    found = [exported_talk(row) for row in rows if isinstance(row, dict)]
    talks = [talk for talk in found if talk is not None]
    if not talks:
        raise BadInputError(f"{path} holds no conversation that is known here.", next_step=_HOW)
    return talks
