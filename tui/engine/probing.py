"""Probes of banks: messages with what happened to them where a bank was made, run again where it is imported.

A probe holds three things a damaged or misplaced bank cannot get right: the route that the bank alone gives a message,
how alike the message is to a procedure's inputs, and the first tokens of an answer under its memory. Prompts come from
text that ships with the program unless the person gave the pairs along. At most 50 procedures are sampled, always the
same ones.

Two machines may turn the router's space differently, since only its angles are determined. So a bank brings the shipped
chat messages as its maker saw them, and its statistics are turned by whatever turns those into the same messages here.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import torch

from profiles.store.banks import quarantined
from profiles.store.store import ProfileStore
from tokmem_desk import background
from tokmem_desk.bank.jsonl import MAX_PROBES, Probe, probe_of
from tokmem_desk.errors import BadInputError, IncompatibleError, InterruptedByUser, UsageError
from tokmem_desk.generation.extraction import can_extract
from tokmem_desk.memory.file import memory_from_bytes, memory_to_bytes
from tokmem_desk.memory.memory import Memory, renormalise
from tokmem_desk.memory.router_statistics import RouterStatistics, on_grid
from tokmem_desk.memory.steering import join_memories
from tokmem_desk.routing.earlier_space import turned, turning
from tokmem_desk.routing.routers import Candidate, DiscriminantRouter, RouterTuning
from tui.engine.bank_cache import BankCache
from tui.engine.models import LoadedModel

if TYPE_CHECKING:
    from torch import Tensor

    from tokmem_desk.routing.features import RouterBasis
    from tui.engine.request import Request

PROBABILITY_TOLERANCE = 0.15
LIKENESS_TOLERANCE = 0.05
TOKEN_TOLERANCE = 0.75
"""How far the log-probabilities of the expected first tokens may be off, in nats: other kernels and batches move them
by about a tenth, another model or a damaged memory by several."""

_TOKENS = 5
_LONGEST_PROMPT = 2000
_BATCH = 16
_OWN_LOOKED_AT, _PAIRS_OF_AN_OWN = 8, 24
"""Procedures of the profile, those most like the bank's, and pairs of each, that are looked at for overlaps."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one probe gives on this machine."""

    route: str
    probabilities: dict[str, float]
    likeness: float
    log_probabilities: Tensor
    """[v] float32 of the first token under the probed memory."""


# --- making probes ---------------------------------------------------------------------------------


def make_probes(request: Request, store: ProfileStore, model: LoadedModel, bank_cache: BankCache) -> Iterator[None]:
    """The ``bank_probes`` request: probes of the named procedures' active memories, and what describes the router.

    ``fresh`` in the result holds memory files, in base64, whose router statistics were of another version.
    """
    backbone, basis = model.backbone, model.basis
    names = list(request.fields.get("names") or ())
    records = {
        record.procedure: record
        for record in store.memories.all_active(backbone.fingerprint.digest, enabled_only=False)
    }
    if missing := [name for name in names if name not in records]:
        raise UsageError(f"{missing[0]!r} has no memory for this model.", next_step="Train it first.")
    uuids = {procedure.name: procedure.uuid for procedure in store.procedures.list()}
    sampled = set(_sample(names, uuids))
    statistics: dict[str, RouterStatistics] = {}
    memories: dict[str, Memory] = {}
    fresh: dict[str, str] = {}
    for at, name in enumerate(names):
        kept = memory_from_bytes(store.memories.read(records[name].file), backbone, f"The memory of {name!r}")
        memory = bank_cache.measured(store, records[name], kept)
        if memory is not kept:
            fresh[name] = base64.b64encode(memory_to_bytes(memory, backbone.fingerprint)).decode()
        assert memory.statistics is not None
        statistics[name] = memory.statistics
        if name in sampled:
            memories[name] = memory
        if at % _BATCH == 0:
            yield
            _refuse_stopped(request)
    prompts = _prompts(request, store, model, memories)
    probes: list[dict[str, Any]] = []
    order = [name for name in names if name in sampled]
    for name, found in zip(order, _measured(model, statistics, [memories[n] for n in order], prompts), strict=True):
        if found is None:
            continue
        tokens = found.log_probabilities.topk(min(_TOKENS, found.log_probabilities.shape[0]))
        pairs = zip(tokens.indices.tolist(), tokens.values.tolist(), strict=True)
        probe = Probe(
            uuids[name],
            prompts[order.index(name)],
            found.route,
            found.probabilities[found.route],
            found.likeness,
            tuple((int(token), round(value, 4)) for token, value in pairs),
        )
        probes.append(probe.as_dict())
        yield
        _refuse_stopped(request)
    if not probes:
        raise UsageError("The context of this model is too short to test any memory.", next_step="Train a shorter one.")
    request.emit(
        "done",
        result={
            "probes": probes,
            "fingerprint": backbone.fingerprint.digest,
            "recipe": basis.recipe,
            "licence": backbone.licence,
            "configuration": {
                "layers": list(basis.layers.means),
                "last_layers": list(basis.layers.lasts),
                "dimensions": int(basis.projection.shape[1]),
            },
            "calibration": basis.calibration.as_dict(),
            "anchors": base64.b64encode(basis.chat.cpu().numpy().astype("<f4").tobytes()).decode(),
            "fresh": fresh,
        },
    )


def _refuse_stopped(request: Request) -> None:
    if request.cancelled.is_set():
        raise InterruptedByUser("Stopped; nothing was written.")


def _sample(names: Sequence[str], uuids: Mapping[str, str]) -> list[str]:
    """At most ``MAX_PROBES`` of the names, the same ones on every machine."""
    return sorted(names, key=lambda name: hashlib.sha256(uuids[name].encode()).digest())[:MAX_PROBES]


def _prompts(request: Request, store: ProfileStore, model: LoadedModel, memories: Mapping[str, Memory]) -> list[str]:
    """One message for each: the first of its pairs where those go along, else the shipped message most like it."""
    basis = model.basis
    chat = background.chat_for_fitting()
    prompts = []
    for name in [name for name in request.fields["names"] if name in memories]:
        pairs = store.pairs.list(name) if request.fields.get("with_pairs") else []
        statistics = memories[name].statistics
        assert statistics is not None
        likeness = basis.chat.cpu() @ statistics.mean.cpu()
        own = pairs[0].input if pairs and len(pairs[0].input) <= _LONGEST_PROMPT else None
        prompts.append(own or chat[int(likeness.argmax())])
    return prompts


# --- running probes --------------------------------------------------------------------------------


def check_bank(request: Request, store: ProfileStore, model: LoadedModel, bank_cache: BankCache) -> Iterator[None]:
    """The ``bank_check`` request: run a bank's probes on its memories in quarantine.

    Fields: ``folder`` (the quarantine's name), ``memories`` ({"uuid", "name", "file"}, names as in the bank),
    ``inputs`` (of its pairs, by uuid, where the bank has them), ``probes`` and ``anchors``. ``files`` in the result are
    the memories to keep, by uuid: where the router's space had to be turned they are others than those given.
    ``overlap`` are the profile's own procedures whose messages would go to one of the bank's. What the bank says of a
    procedure's ``action`` (``skip``, ``replace``) and ``pairs`` stands with its memory.
    """
    backbone, basis = model.backbone, model.basis
    folder = quarantined(store.banks, request.text("folder"))
    given = request.fields["memories"]
    inputs = request.fields.get("inputs") or {}
    anchors = _anchors(base64.b64decode(request.fields.get("anchors") or ""), basis.chat.device)
    turns: dict[str, Tensor | None] = {}
    probes = [probe_of(fields) for fields in request.fields["probes"]]
    probed = {probe.procedure for probe in probes}
    statistics: dict[str, RouterStatistics] = {}
    memories: dict[str, Memory] = {}
    files: dict[str, str] = {}
    measured_anew = False
    own = bank_cache.memories(store)
    for at, entry in enumerate(given):
        name, uuid, file = str(entry["name"]), str(entry["uuid"]), str(entry["file"])
        memory = memory_from_bytes(store.memories.read(file, folder), backbone, f"The memory of {name!r}")
        measured_anew |= not _follows(memory.statistics, basis)
        _refuse_counts(memory, entry.get("pairs"), name)
        recipe = memory.statistics.digest if memory.statistics is not None else ""
        if recipe not in turns:
            turns[recipe] = _turn(recipe, anchors, model)
        changed = _as_long_as(_here(memory, turns[recipe], inputs.get(uuid), model, bank_cache), own)
        file = store.memories.write(memory_to_bytes(changed, backbone.fingerprint), folder)
        assert changed.statistics is not None
        statistics[name], files[uuid] = changed.statistics, file
        if uuid in probed:
            memories[uuid] = replace(changed, name=name)
        if at % _BATCH == 0:
            request.emit("progress", phase="probe", fraction=None, text="Reading memories")
            yield
            if request.cancelled.is_set():
                request.emit("done", result={"cancelled": True})
                return
    results: list[dict[str, Any]] = []
    found = _measured(model, statistics, [memories[p.procedure] for p in probes], [p.prompt for p in probes])
    for probe, measured in zip(probes, found, strict=True):
        results.append(_compared(probe, measured, memories[probe.procedure].name, routes=not measured_anew))
        request.emit("progress", phase="probe", fraction=len(results) / len(probes), text="Answering its test messages")
        yield
        if request.cancelled.is_set():
            request.emit("done", result={"cancelled": True})
            return
    passed = all(result["passed"] for result in results)
    coming = {str(entry["name"]): statistics[str(entry["name"])] for entry in given if entry.get("action") != "skip"}
    replaced = {str(entry["name"]) for entry in given if entry.get("action") == "replace"}
    overlap = yield from _overlap(
        store, model, bank_cache, {name: entry for name, entry in own.items() if name not in replaced}, coming
    )
    request.emit(
        "done",
        result={
            "cancelled": False,
            "passed": passed,
            "turned": any(turn is not None for turn in turns.values()),
            "probes": results,
            "files": files,
            "overlap": overlap,
        },
    )


def _refuse_counts(memory: Memory, pairs: object, name: str) -> None:
    """Stop where a memory claims more inputs than it has pairs: a larger count makes the router surer of it.

    Raises:
        BadInputError: it does.
    """
    if memory.statistics is None or not isinstance(pairs, int) or memory.statistics.count <= pairs:
        return
    raise BadInputError(
        f"{name!r} counts {memory.statistics.count:,} inputs, and it was made from {pairs:,} pairs.",
        next_step="Ask for the file again: it was changed on its way.",
    )


def _as_long_as(memory: Memory, own: Mapping[str, Memory]) -> Memory:
    """The memory with an address no longer than the person's own are, or it would win every softmax (TokMem, eq. 6)."""
    if not own:
        return memory
    addresses = torch.stack([memory.address for memory in own.values()])
    if float(memory.address.norm()) <= float(addresses.norm(dim=1).mean()):
        return memory
    return replace(memory, address=renormalise(memory.address[None], addresses)[0], tied=False)


def _overlap(
    store: ProfileStore,
    model: LoadedModel,
    bank_cache: BankCache,
    own: Mapping[str, Memory],
    coming: Mapping[str, RouterStatistics],
) -> Generator[None, None, list[dict[str, Any]]]:
    """Which own procedures would lose messages to a bank's: a few of the pairs of those that are most like them."""
    mine = {name: memory.statistics for name, memory in own.items() if memory.statistics is not None}
    if not mine or not coming:
        return []
    # A name of the bank's may be one of the person's too; no procedure is called so.
    theirs = {f"bank {name}": statistic for name, statistic in coming.items()}
    basis = model.basis
    tuning = RouterTuning(guests=frozenset(theirs))
    router = DiscriminantRouter(
        basis, model.backbone.hidden_size, {**mine, **theirs}, tuning, bank_cache.corrections(store)
    )
    found: list[tuple[str, str]] = []
    for name in _nearest(mine, theirs):
        texts = [pair.input for pair in store.pairs.list(name)][:_PAIRS_OF_AN_OWN]
        for start in range(0, len(texts), _BATCH):
            ranked = router.rank(bank_cache.features(texts[start : start + _BATCH]))
            found += [(name, candidates[0].route) for candidates in ranked if candidates[0].route in theirs]
            yield
    lost = Counter(found)
    counts = {name: min(len(store.pairs.list(name)), _PAIRS_OF_AN_OWN) for name, _ in lost}
    return [
        {"name": name, "to": route.removeprefix("bank "), "count": count, "of": counts[name]}
        for (name, route), count in sorted(lost.items())
    ]


def _nearest(mine: Mapping[str, RouterStatistics], theirs: Mapping[str, RouterStatistics]) -> list[str]:
    """The own procedures whose means are most like one of a bank's."""
    names = sorted(mine)
    means = torch.nn.functional.normalize(torch.stack([mine[name].mean for name in names]), dim=1)
    others = torch.nn.functional.normalize(
        torch.stack([statistic.mean.to(means.device) for statistic in theirs.values()]), dim=1
    )
    likeness = (means @ others.T).amax(dim=1)
    return [names[place] for place in likeness.argsort(descending=True)[:_OWN_LOOKED_AT].tolist()]


def _here(
    memory: Memory, turn: Tensor | None, inputs: Sequence[str] | None, model: LoadedModel, bank_cache: BankCache
) -> Memory:
    """The memory with statistics of this machine's router.

    Raises:
        IncompatibleError: it cannot be used here.
    """
    can_extract(model.backbone, memory)
    statistics, basis = memory.statistics, model.basis
    if _follows(statistics, basis):
        here = replace(statistics, digest=basis.digest)
        if turn is not None:
            mean, rows = (part.to(turn.device) @ turn for part in (statistics.mean, statistics.low_rank_scatter))
            here = replace(here, mean=mean, low_rank_scatter=on_grid(rows))
        return replace(memory, statistics=here)
    if inputs:
        return replace(memory, statistics=bank_cache.statistics(list(inputs)))
    if statistics is not None and turn is not None:
        return replace(memory, statistics=turned(statistics, turn, basis.digest))
    raise IncompatibleError(
        f"{memory.name!r} was made with another version of the router, and its pairs are not in the file.",
        next_step="Ask for an export with pairs, or update tokmem-desk on both sides.",
    )


def _follows(statistics: RouterStatistics | None, basis: RouterBasis) -> TypeGuard[RouterStatistics]:
    """Whether statistics of a bank were made by this router's recipe, in whatever fit of it."""
    return statistics is not None and statistics.digest == basis.recipe


def _anchors(anchors: bytes, device: torch.device) -> Tensor | None:
    """The shipped chat messages as the bank's maker saw them, flat; None where the bank does not say."""
    return torch.from_numpy(np.frombuffer(anchors, dtype="<f4").copy()).to(device) if anchors else None


def _turn(recipe: str, anchors: Tensor | None, model: LoadedModel) -> Tensor | None:
    """[k x k] from the maker's space to the one here; None where they are the same, or nothing is known to do it.

    Args:
        recipe: of the maker's space.

    Raises:
        IncompatibleError: the recipe is this router's, and messages look different there all the same.
    """
    basis, earlier = model.basis, model.earlier_space
    if recipe == basis.recipe and anchors is not None and anchors.numel() == basis.chat.numel():
        return turning(anchors.view_as(basis.chat), basis.chat)
    # Other dimensions mean another router, which the statistics' digest tells with a better reason.
    return earlier.from_anchors(anchors) if earlier is not None and recipe == earlier.recipe else None


def _measured(
    model: LoadedModel,
    statistics: dict[str, RouterStatistics],
    memories: Sequence[Memory],
    prompts: Sequence[str],
) -> Iterator[Measured | None]:
    """What each prompt gives under its memory, in order, computed in batches; None where it is too long."""
    backbone, basis = model.backbone, model.basis
    router = DiscriminantRouter(basis, backbone.hidden_size, statistics)
    for start in range(0, len(prompts), _BATCH):
        part = range(start, min(start + _BATCH, len(prompts)))
        queries = {i: backbone.format.query(prompts[i]) for i in part}
        room = {i for i in part if len(queries[i]) + memories[i].steering.span < backbone.context_length}
        done: dict[int, Measured] = {}
        # A batch has one number of input rows.
        for rows in sorted({memories[i].steering.rows.shape[0] for i in room}):
            members = [i for i in part if i in room and memories[i].steering.rows.shape[0] == rows]
            found = _measure_batch(model, router, [memories[i] for i in members], [queries[i] for i in members])
            done.update(zip(members, found, strict=True))
        yield from (done.get(i) for i in part)


@torch.no_grad()
def _measure_batch(
    model: LoadedModel, router: DiscriminantRouter, memories: Sequence[Memory], queries: Sequence[list[int]]
) -> list[Measured]:
    backbone, basis = model.backbone, model.basis
    done = backbone.prefill(queries, feature_layers=router.feature_layers)
    candidates: list[list[Candidate]] = router.candidates(done)
    assert done.pooled is not None
    vectors = basis.project(done.pooled, backbone.hidden_size)
    batch = join_memories(backbone, done.states, [m.steering for m in memories])
    inputs = torch.stack([backbone.embed_rows(m.steering.rows) for m in memories])
    logits = backbone.logits(backbone.extend(batch, inputs)[:, -1]).float()
    log_probabilities = torch.log_softmax(logits, dim=-1).cpu()
    found = []
    for i, memory in enumerate(memories):
        assert memory.statistics is not None
        mean = memory.statistics.mean.to(vectors.device)
        likeness = float(vectors[i] @ (mean / mean.norm().clamp_min(1e-12)))
        probabilities = {candidate.route: candidate.probability for candidate in candidates[i]}
        found.append(Measured(candidates[i][0].route, probabilities, likeness, log_probabilities[i]))
    return found


def _compared(probe: Probe, found: Measured | None, name: str, *, routes: bool) -> dict[str, Any]:
    """One probe's outcome beside what it should be.

    Args:
        routes: whether route and likeness count; not when the router's statistics were made anew from pairs.
    """
    if found is None:
        return {"procedure": name, "passed": False, "reason": "its message is too long for this model"}
    probability = found.probabilities.get(probe.route, 0.0)
    ids = [token for token, _ in probe.tokens]
    reasons = []
    if routes and abs(found.likeness - probe.likeness) > LIKENESS_TOLERANCE:
        reasons.append(f"likeness {found.likeness:.2f} instead of {probe.likeness:.2f}")
    if routes and abs(probability - probe.probability) > PROBABILITY_TOLERANCE:
        reasons.append(f"{probe.route} has probability {probability:.2f} instead of {probe.probability:.2f}")
    if max(ids) >= found.log_probabilities.shape[0]:
        reasons.append("an expected token does not exist")
    else:
        # Weighted by how likely they were: what was improbable there may be anything here.
        expected = torch.tensor([value for _, value in probe.tokens])
        weights = torch.softmax(expected, dim=0)
        off = float((weights * (found.log_probabilities[torch.tensor(ids)] - expected).abs()).sum())
        if not off <= TOKEN_TOLERANCE:
            reasons.append(f"its answer begins differently (by {off:.2f} nats)")
    return {
        "procedure": name,
        "passed": not reasons,
        "reason": "; ".join(reasons) or None,
        "route": found.route,
        "expected_route": probe.route,
        "probability": probability,
        "expected_probability": probe.probability,
    }
