"""``status``: what the engine runs on, what it takes, and what is going on. Loads nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

from tokmem_desk.system.device import memory_in_use_mb
from tui.engine.engine import Engine
from tui.engine.operation import ModelFields, operation
from tui.engine.request import Request
from tui.engine_client.protocol import BackboneInfo


class StatusResult(TypedDict):
    """``jobs`` are the long requests in words; ``reason`` says why this device was chosen."""

    loaded: bool
    backbone: BackboneInfo | None
    device: str
    dtype: str
    reason: str
    memory_mb: int
    jobs: list[str]
    conversations_mb: float


@operation("status", fields=ModelFields, result=StatusResult)
def status(engine: Engine, request: Request) -> Iterator[None]:
    """Say how things stand."""
    choice = engine.model.choice
    request.emit(
        "done",
        result={
            "loaded": engine.model.loaded,
            "backbone": engine.model.describe() if engine.model.loaded else None,
            "device": choice.device,
            "dtype": choice.compute_dtype,
            "reason": choice.reason,
            "memory_mb": round(memory_in_use_mb(choice.device)),
            "jobs": engine.jobs.texts(),
            "conversations_mb": engine.conversations.mebibytes,
        },
    )
    yield
