"""``measure``: what the device reaches, for estimates of how fast a model would be. Loads no model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TypedDict

from tokmem_desk.backbone.machine_speed import measure_speed
from tokmem_desk.models.speed_fit import keep
from tokmem_desk.system.device import release_memory
from tui.engine.engine import Engine
from tui.engine.operation import ModelFields, operation
from tui.engine.request import Request


class MeasureResult(TypedDict):
    """As ``tokmem_desk.models.speed_fit.MachineSpeed``."""

    device: str
    dtype: str
    flops: float
    unpacked: float
    one_row: float
    bytes_per_second: float
    operation_seconds: float


@operation("measure", fields=ModelFields, result=MeasureResult)
def measure(engine: Engine, request: Request) -> Iterator[None]:
    """Measure for some two seconds, and keep what came out in the cache folder."""
    speed = measure_speed(engine.model.choice)
    keep(engine.paths.cache, speed)
    release_memory(engine.model.choice.device)
    request.emit("done", result=asdict(speed))
    yield
