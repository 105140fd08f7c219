"""``train_cluster``: train many procedures on the workers of a cluster; see ``tui.engine.cluster``."""

from __future__ import annotations

from collections.abc import Iterator

from tui.engine.engine import Engine
from tui.engine.operation import ProfileFields, operation
from tui.engine.request import Request
from tui.engine_client.protocol import TrainResult


class TrainClusterFields(ProfileFields):
    """Fields of such a training. Those that need not be there:

    ``workers`` (whole number), ``cpus`` and ``gpus`` (numbers: of each worker). How each job is trained stands in the
    job. Beside ``progress`` events, which name the ``job``, there are ``job`` events with its ``state``, its ``error``
    where it has failed, and what was ``trained``, which waits for a decision.
    """

    address: str
    """Of the cluster, or ``local``."""
    jobs: list[int]
    """Numbers of queued jobs."""


@operation("train_cluster", fields=TrainClusterFields, result=TrainResult, waits="patient")
def train_cluster(engine: Engine, request: Request) -> Iterator[None]:
    """Train, measure and keep a candidate memory for each job, on several workers at once."""
    from tui.engine.cluster.run import train_on_cluster

    yield from engine.ready(request)
    job = f"train in {request.text('profile')} on a cluster"
    with engine.jobs.named(request, job), engine.profile(request) as (store, settings):
        yield from train_on_cluster(engine, request, store, settings)
