"""A profile's memories, read from disk and put together for recall; built anew only when the profile changed.

One bank is kept per profile and router. No bank holds anything of another profile.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from profiles.store.memories import MemoryRecord, read_memory_file
from profiles.store.router_rows import RouterRow
from profiles.store.store import ProfileStore
from tokmem_desk.errors import IncompatibleError, TokmemError
from tokmem_desk.generation.recall import Bank
from tokmem_desk.memory.file import memory_from_bytes
from tokmem_desk.memory.memory import Memory
from tokmem_desk.memory.router_statistics import RouterStatistics
from tokmem_desk.plans.grammar import steps_grammar
from tokmem_desk.routing.earlier_space import turned
from tokmem_desk.routing.near_misses import MOST_EXAMPLES
from tokmem_desk.routing.routers import Correction, DiscriminantRouter, EmptyRouter, Router, RouterTuning, TokenRouter
from tokmem_desk.routing.wrappers import decisive_text
from tokmem_desk.templates.json_schema import OutputSchema, read_schema
from tui.engine.lazy_steering import FileState, SteeringCache, memory_of, row_of

if TYPE_CHECKING:
    from torch import Tensor

    from tui.engine.models import LoadedModel


KEPT_PROFILES = 16
"""Profiles of which something is kept, those used last: one takes up to ``lazy_steering.KEPT`` memories."""


class BankCache:
    """Banks of the profiles in use.

    Args:
        model: that answers.
        most_profiles: of how many profiles something is kept.
    """

    def __init__(self, model: LoadedModel, most_profiles: int = KEPT_PROFILES) -> None:
        self._model = model
        self._most_profiles = most_profiles
        self._used: OrderedDict[str, None] = OrderedDict()
        self._banks: dict[tuple[str, str], tuple[object, Bank]] = {}
        self._corrected: dict[str, dict[str, Tensor]] = {}
        self._exemplary: dict[str, dict[str, dict[str, Tensor]]] = {}
        self._problems: dict[str, list[str]] = {}
        self._steering_caches: dict[str, SteeringCache] = {}
        self._routed: dict[str, dict[str, tuple[FileState, Memory]]] = {}
        """What routing needs of each memory, by folder and memory. What did not change is not read again, and a large
        router goes on from those that are the same objects."""

    def bank(self, store: ProfileStore, router: str, none_bias: float, keep_form: bool = True) -> Bank:
        """The enabled, active memories of a profile.

        A memory whose file is damaged is left out, and ``problems`` says so; the others answer as before.

        Args:
            none_bias: added to the log odds of ``none``, in nats.
            keep_form: hold answers to the answer templates of their memories; else they are free.
        """
        key = (str(store.folder), router)
        self._use(key[0])
        state = (store.revision, none_bias, keep_form)
        kept = self._banks.get(key)
        if kept is not None and kept[0] == state:
            return kept[1]
        memories = self.memories(store)
        if not keep_form:
            memories = {name: memory.without_answer_template() for name, memory in memories.items()}
        tuning = tuning_of(store, none_bias, self._model.backbone.fingerprint.digest)
        bank = self.assemble(store, memories, router, tuning)
        bank = replace(
            bank,
            following=store.procedures.following(),
            schemas=schemas_of(store),
            conversation_aware=conversation_aware_in(store),
            guests=tuning.guests,
            plans=(plans := store.plans.steps()),
            # Every procedure, also one that is switched off: another one in its place would be worse than none.
            steps_grammar=steps_grammar(record.name for record in store.procedures.list()) if plans else "",
        )
        self._banks[key] = (state, bank)
        return bank

    def _use(self, folder: str) -> None:
        """A profile is used now; of those used longest ago nothing stays, but what answers on their way hold."""
        self._used[folder] = None
        self._used.move_to_end(folder)
        if len(self._used) > self._most_profiles:
            stay = set(list(self._used)[-self._most_profiles :])
            self.forget(lambda one: one not in stay)

    def problems(self, store: ProfileStore) -> list[str]:
        """Which memories of a profile were left out when its bank was last put together, and why."""
        return list(self._problems.get(str(store.folder), ()))

    def forget(self, gone: Callable[[str], bool]) -> None:
        """Drop all that is kept of some profiles.

        This cache is changed, not replaced: a training that runs holds it too.

        Args:
            gone: whether to drop the profile in that folder.
        """
        for folder in [folder for folder in self._used if gone(folder)]:
            del self._used[folder]
        for key in [key for key in self._banks if gone(key[0])]:
            del self._banks[key]
        for kept in (self._corrected, self._exemplary, self._steering_caches, self._problems, self._routed):
            for folder in [folder for folder in kept if gone(folder)]:
                del kept[folder]

    def memories(self, store: ProfileStore) -> dict[str, Memory]:
        """Active memories of enabled procedures on this backbone, by name, router statistics included.

        Their steering is read from its file when it first acts.
        """
        backbone = self._model.backbone
        problems: list[str] = []
        self._problems[str(store.folder)] = problems
        records = store.memories.all_active(backbone.fingerprint.digest)
        if not records:
            return {}
        basis = self._model.basis
        blocks = self._steering_cache(store)
        before = self._routed.get(str(store.folder), {})
        self._routed[str(store.folder)] = kept = {}
        states = {record.id: FileState.of(store.memories.folder / record.file) for record in records}
        current = self._current(store, states)
        same = {one for one in current if one in before and self._is_same(before[one], states[one])}
        rows = store.router_rows.read(basis.digest, current - same)
        fresh: list[RouterRow] = []
        found: dict[str, Memory] = {}
        for record in records:
            state, row, steering = states[record.id], rows.get(record.id), blocks.lazy(record)
            if record.id in same:
                memory = replace(
                    before[record.id][1], name=record.procedure, steering=steering, settings=record.settings
                )
            elif row is not None and state == FileState(row.file_bytes, row.file_time):
                memory = memory_of(row, record, steering, backbone.torch_device)
            else:
                try:
                    read = self.measured(store, record, blocks.load(record.file, record.procedure))
                except TokmemError as error:
                    problems.append(str(error))
                    continue
                if state is not None:
                    fresh.append(row_of(record.id, read, state))
                blocks.keep(record.file, read.steering)
                memory = replace(read, name=record.procedure, steering=steering)
            if state is not None:
                kept[record.id] = (state, memory)
            found[record.procedure] = memory
        if fresh:
            with suppress(TokmemError):  # it only costs time at the next start
                store.router_rows.write(fresh)
        return found

    def _current(self, store: ProfileStore, states: Mapping[str, FileState | None]) -> set[str]:
        """The memories whose row in the database was read from the file that is there."""
        rows = store.router_rows.files(self._model.basis.digest)
        return {memory for memory, state in states.items() if state and rows.get(memory) == (state.size, state.written)}

    def _is_same(self, before: tuple[FileState, Memory], state: FileState | None) -> bool:
        """Whether what was kept of a memory is of the file that is there, and of the router's space."""
        kept_state, memory = before
        return kept_state == state and (
            memory.statistics is not None and memory.statistics.digest == self._model.basis.digest
        )

    def measured(self, store: ProfileStore, record: MemoryRecord, memory: Memory) -> Memory:
        """The memory with statistics for this router; the same object where it has them.

        Raises:
            IncompatibleError: it has none that can be turned, and came without the pairs to measure them.
        """
        statistics, basis = memory.statistics, self._model.basis
        if statistics is not None and statistics.digest == basis.digest:
            return memory
        if statistics is not None and statistics.digest == basis.recipe:
            # Made before files said which fit their statistics are of: there was one then, and it is kept.
            return replace(memory, statistics=replace(statistics, digest=basis.digest))
        inputs = [pair.input for pair in store.memories.pairs(record.id)]
        if not inputs:  # imported without its pairs
            earlier = self._model.earlier_space
            turn = None if earlier is None or statistics is None else earlier.from_fit(statistics.digest)
            if statistics is not None and turn is not None:
                return replace(memory, statistics=turned(statistics, turn, basis.digest))
            raise IncompatibleError(
                f"{record.procedure!r} has to be imported or trained again: the router has changed, and its pairs are "
                "not here."
            )
        return replace(memory, statistics=self.statistics(inputs))

    def _steering_cache(self, store: ProfileStore) -> SteeringCache:
        """Reads and keeps a profile's steering; it stays when the store is closed, until ``forget``."""
        folder, files, backbone = store.memories.folder, store.files, self._model.backbone

        def load(file: str, name: str) -> Memory:
            return memory_from_bytes(read_memory_file(files, folder / file), backbone, f"The memory of {name!r}")

        blocks = self._steering_caches.get(str(store.folder))
        if blocks is None:
            blocks = self._steering_caches[str(store.folder)] = SteeringCache(load)
        return blocks

    def assemble(
        self, store: ProfileStore, memories: dict[str, Memory], router: str, tuning: RouterTuning | None = None
    ) -> Bank:
        """A bank over given memories, with the profile's corrections; without memories it needs no fitted model."""
        if not memories:  # plain chat alone, before the model is fitted
            return Bank({}, EmptyRouter())
        return Bank(
            memories,
            self.router(store, memories, router, tuning),
            segment_tagger=self._model.segment_tagger,
            references=self._model.references,
        )

    def router(
        self,
        store: ProfileStore,
        memories: Mapping[str, Memory],
        router: str,
        tuning: RouterTuning | None = None,
        *,
        without: str | None = None,
    ) -> Router:
        """The router of such a bank.

        Args:
            without: a corrected message whose verdict is left out.
        """
        backbone, basis = self._model.backbone, self._model.basis
        if router == "token":
            return TokenRouter(backbone, list(memories.values()), tuning)
        statistics = {name: m.statistics for name, m in memories.items() if m.statistics is not None}
        examples = self._examples(store, memories)
        corrections = self.corrections(store, without)
        _, bank = self._banks.get((str(store.folder), router), (None, None))
        before = bank.router if bank is not None and isinstance(bank.router, DiscriminantRouter) else None
        return DiscriminantRouter(basis, backbone.hidden_size, statistics, tuning, corrections, examples, before)

    def examples(self, store: ProfileStore, names: Collection[str]) -> dict[str, Tensor]:
        """[n x k] features of messages that some procedures have learned, of those that verdicts are about."""
        examples = self._examples(store, names)
        wrong = {record.wrong_route for record in store.corrections.list()}
        found = {name: examples(name) for name in sorted(wrong & set(names))}
        return {name: vectors for name, vectors in found.items() if vectors is not None}

    def _examples(self, store: ProfileStore, names: Collection[str]) -> Callable[[str], Tensor | None]:
        """Gives the features of messages that a procedure has learned, read when they are first asked for."""
        inputs = {
            name: [pair.input for pair in store.pairs.list(name)][:MOST_EXAMPLES]
            for name in {record.wrong_route for record in store.corrections.list()} & set(names)
        }
        folder = str(store.folder)

        def examples(name: str) -> Tensor | None:
            texts = inputs.get(name)
            if not texts:
                return None
            known = self._exemplary.setdefault(folder, {}).setdefault(name, {})
            fresh = [text for text in dict.fromkeys(texts) if text not in known]
            known.update(zip(fresh, self.features(fresh) if fresh else (), strict=True))
            return torch.stack([known[text] for text in texts])

        return examples

    def corrections(self, store: ProfileStore, without: str | None = None) -> list[Correction]:
        """The profile's verdicts with the features of their messages, each of which is read once.

        Args:
            without: a corrected message whose verdict is left out.
        """
        records = store.corrections.list()
        known = self._corrected.get(str(store.folder), {})
        fresh = list(dict.fromkeys(record.text for record in records if record.text not in known))
        found = {**known, **dict(zip(fresh, self.features(self.decisive(fresh)) if fresh else (), strict=True))}
        # Verdicts that were taken back are forgotten here too.
        self._corrected[str(store.folder)] = {record.text: found[record.text] for record in records}
        return [
            Correction(found[record.text], record.wrong_route, record.right_route)
            for record in records
            if record.text != without
        ]

    def decisive(self, messages: Sequence[str]) -> list[str]:
        """The texts that decide about the routes of messages."""
        return [decisive_text(self._model.backbone, message) for message in messages]

    def features(self, messages: Sequence[str]) -> Tensor:
        """[n x k] unit vectors of messages."""
        backbone, basis = self._model.backbone, self._model.basis
        queries = [backbone.format.query(message) for message in messages]
        done = backbone.prefill(queries, keep_states=False, feature_layers=basis.layers.pooled)
        assert done.pooled is not None
        return basis.project(done.pooled, backbone.hidden_size)

    def statistics(self, inputs: Sequence[str]) -> RouterStatistics:
        """What the discriminant router keeps of a procedure with these inputs."""
        return RouterStatistics.of(self.features(inputs), self._model.basis.digest)


def schemas_of(store: ProfileStore) -> dict[str, OutputSchema]:
    """What the answers of a profile's procedures are held to, by name."""
    return {p.name: read_schema(p.output_schema) for p in store.procedures.list() if p.output_schema is not None}


def tuning_of(store: ProfileStore, none_bias: float, fingerprint: str) -> RouterTuning:
    """A person's wishes about routing in a profile.

    Args:
        none_bias: added to the log odds of ``none``, in nats.
        fingerprint: of the backbone.
    """
    thresholds = {p.name: p.threshold for p in store.procedures.list() if p.threshold is not None}
    return RouterTuning(none_bias, thresholds, guests_of(store, fingerprint))


def guests_of(store: ProfileStore, fingerprint: str) -> frozenset[str]:
    """The procedures of a profile that came with a bank and that nobody has accepted."""
    return frozenset(record.procedure for record in store.memories.all_active(fingerprint) if record.imported_from)


def conversation_aware_in(store: ProfileStore) -> frozenset[str]:
    """The procedures of a profile that read the conversation."""
    return frozenset(p.name for p in store.procedures.list() if p.reads_conversation)
