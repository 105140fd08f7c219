"""``forget``: drop everything that is kept in memory of a profile, as when it is locked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TypedDict

from profiles.registry.registry import ProfileRegistry
from tokmem_desk.errors import NotFoundError
from tokmem_desk.system.device import release_memory
from tokmem_desk.templates.json_schema import forget_schemas
from tui.engine.engine import Engine
from tui.engine.operation import operation
from tui.engine.request import Request


class ForgetFields(TypedDict):
    """``profile``: the name of the profile; it may be gone by now, or belong to another profile."""

    profile: str


class ForgetResult(TypedDict):
    """Nothing."""


@operation("forget", fields=ForgetFields, result=ForgetResult)
def forget(engine: Engine, request: Request) -> Iterator[None]:
    """Drop what is kept of the profile, and of every profile that does not exist any more.

    Those are profiles that were erased, and those that were encrypted: encryption gives a profile another folder.
    """
    name = request.text("profile")
    with ProfileRegistry(engine.paths) as registry:
        kept = {str(engine.paths.profile_folder(info.id)) for info in registry.list()}
        with suppress(NotFoundError):
            kept.discard(str(engine.paths.profile_folder(registry.info(name).id)))

    def gone(folder: str) -> bool:
        return folder not in kept

    engine.bank_cache.forget(gone)
    engine.conversations.forget_where(gone)
    engine.forget_texts()
    forget_schemas()
    if engine.model.loaded:  # demonstrations in a prompt are a beginning that many queries share
        engine.model.backbone.renew_prefixes()
    release_memory(engine.model.choice.device)
    request.emit("done", result={})
    yield
